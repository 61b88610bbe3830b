/* What every page has: the token, calls of the hub, notices, and small helpers of the document. */

export const $ = (id) => document.getElementById(id);

/* An element with properties and children. Text is only ever text: nothing is read as HTML. */
export function element(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    const { dataset = {}, ...others } = properties;
    Object.assign(node, others);
    Object.assign(node.dataset, dataset);
    node.append(...children);
    return node;
}

export const timeOf = (date = new Date()) =>
    element('time', { dateTime: date.toISOString() }, date.toLocaleTimeString());

/* ---- The token: kept by the tab, sent to this hub only. */

const TOKEN_KEY = 'spate-token';
let tokenInMemory = ''; /* where the browser gives a page no storage */

export function token() {
    try {
        return sessionStorage.getItem(TOKEN_KEY) ?? '';
    } catch {
        return tokenInMemory;
    }
}

function setToken(value) {
    tokenInMemory = value;
    try {
        sessionStorage.setItem(TOKEN_KEY, value);
    } catch {
        /* It lives as long as the page does. */
    }
    $('token-open').textContent = value === '' ? 'Token' : 'Token is set';
    clearNotice();
    document.dispatchEvent(new Event('spate-token'));
}

export const authorization = () => (token() === '' ? {} : { Authorization: `Bearer ${token()}` });

function askForToken() {
    $('token-value').value = token();
    $('token-dialog').showModal();
    $('token-value').select();
}

$('token-open').textContent = token() === '' ? 'Token' : 'Token is set';
$('token-open').addEventListener('click', askForToken);
$('token-value').addEventListener('input', ({ target }) => {
    const printable = /^[\x21-\x7e]*$/.test(target.value.trim());
    target.setCustomValidity(printable ? '' : 'A token is visible ASCII characters without spaces.');
});
$('token-form').addEventListener('submit', () => setToken($('token-value').value.trim()));
$('token-forget').addEventListener('click', () => {
    $('token-dialog').close();
    setToken('');
});

/* ---- Calls of the hub. */

export class HubError extends Error {
    constructor(status, message) {
        super(message);
        this.status = status; /* 0: there was no answer; AWAY: there is no hub to give one */
    }
}

export const AWAY = -1;

export const awayError = () => new HubError(AWAY, 'The hub cannot be reached.');

/* The detail of a problem document (RFC 9457), or what there is instead. */
export async function reasonOf(response) {
    const text = await response.text().catch(() => '');
    try {
        return JSON.parse(text).detail ?? response.statusText;
    } catch {
        return response.statusText || `The hub answered ${response.status}.`;
    }
}

/* Gives the response, or throws a HubError that a person can read. */
export async function call(path, { method = 'GET', headers = {}, body, seconds = 8 } = {}) {
    let response;
    try {
        response = await fetch(path, {
            method,
            body,
            cache: 'no-store',
            headers: { ...headers, ...authorization() },
            signal: AbortSignal.timeout(seconds * 1000),
        });
    } catch (error) {
        throw error.name === 'TimeoutError'
            ? new HubError(0, `The hub did not answer within ${seconds} seconds. Over HTTP/1.1 a browser has `
                + 'six connections to a hub, all tabs together: close streams or tabs.')
            : awayError();
    }
    if (!response.ok) {
        throw new HubError(response.status, await reasonOf(response));
    }
    return response;
}

export const publish = (channel, data, { event = '', type = 'text/plain' } = {}) =>
    call(`/publish/${encodeURIComponent(channel)}${event && `?event=${encodeURIComponent(event)}`}`,
        { method: 'POST', headers: { 'Content-Type': type }, body: data });

/* ---- Notices. */

let noticed = null; /* what the notice is about */

/* Without an error clears whatever there is; with one, only its own notice. */
export function clearNotice(error = noticed) {
    if (error === noticed) {
        noticed = null;
        $('notice').replaceChildren();
    }
}

/* The hub is there again, whoever found that it was not. */
export function clearAway() {
    if (noticed?.status === AWAY) {
        clearNotice();
    }
}

export function showNotice(error) {
    noticed = error;
    const parts = [element('span', {}, error.message)];
    if (error.status === 401) {
        const button = element('button', { type: 'button' }, 'Enter the token');
        button.addEventListener('click', askForToken);
        parts.push(button);
    }
    const shown = $('notice').textContent;
    const box = element('div', { className: 'notice' }, ...parts);
    if (box.textContent !== shown) { /* said once, it is not said again every second */
        $('notice').replaceChildren(box);
    }
}

/* Ends the surprise of a button that does nothing: calls `run`, and shows what went wrong. */
export async function attempt(run) {
    try {
        const result = await run();
        clearNotice();
        return result;
    } catch (error) {
        showNotice(error);
        return undefined;
    }
}
