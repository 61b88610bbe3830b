/* The page of the clients: opens streams of named clients, and publishes statuses to them. */
import { $, attempt, call, clearNotice, element, HubError, showNotice } from './common.js';
import { gapText, Live, messageList, showState, STREAMS_MAX_REASON, streamsMax } from './live.js';

const NAMES = ['heron', 'otter', 'salmon', 'kingfisher', 'dipper', 'trout', 'beaver', 'newt'];
const REFRESH_MS = 3000;
const own = new Map(); /* name: Live */

function freshName() {
    for (;;) {
        const word = NAMES[Math.floor(Math.random() * NAMES.length)];
        const name = `${word}-${Math.floor(Math.random() * 900) + 100}`;
        if (!own.has(name)) {
            return name;
        }
    }
}

/* ---- Whom to publish to: our clients, and those that others connected. */

function showRecipients(names) {
    const select = $('to');
    const wanted = ['', ...names];
    const shown = [...select.options].map((option) => option.value);
    if (wanted.join('\0') === shown.join('\0')) {
        return; /* a list that is open stays as it is */
    }
    const chosen = select.value;
    select.replaceChildren(...wanted.map((name) =>
        new Option(name === '' ? 'everybody' : name, name, false, name === chosen)));
    showExample();
}

async function refreshRecipients() {
    if (document.visibilityState !== 'visible') {
        return;
    }
    try {
        const response = await call('/clients?limit=300', { seconds: 4 });
        const others = (await response.json()).filter((name) =>
            !own.has(name) && !name.startsWith('anon-'));
        showRecipients([...own.keys(), ...others.sort()]);
    } catch {
        showRecipients([...own.keys()]); /* the cards say that the hub is away */
    }
}

/* ---- Cards. */

function addClient() {
    if (own.size >= streamsMax()) {
        showNotice(new HubError(0, `This page opens ${streamsMax()} streams. ${STREAMS_MAX_REASON}`));
        return;
    }
    const name = freshName();
    const { list, add } = messageList(`Messages of ${name}`);
    const pill = element('span', { className: 'pill', dataset: { state: 'connecting' } }, 'connecting');
    const close = element('button', { type: 'button', className: 'quiet', ariaLabel: `Disconnect ${name}` },
        '✕');
    const card = element('article', { className: 'card', dataset: { client: name } },
        element('div', { className: 'card-head' }, element('h2', {}, name), pill, close), list);
    const live = new Live(`/stream/${encodeURIComponent(name)}`, [], {
        state: () => {
            showState(pill, live);
        },
        event: ({ data }) => add(data),
        gap: (gap) => add(gapText(gap), 'told'),
    });
    own.set(name, live);
    close.addEventListener('click', () => {
        live.close();
        own.delete(name);
        card.remove();
        clearNotice();
        $('add').focus();
        refreshRecipients();
    });
    $('cards').append(card);
    refreshRecipients();
}

/* ---- Publishing. */

function publishPath() {
    const [to, status] = [$('to').value, $('status').value].map(encodeURIComponent);
    return to === '' ? `/publish/status/${status}` : `/publish/${to}/status/${status}`;
}

function showExample() {
    $('example').textContent = `curl -X POST '${location.origin}${publishPath()}'`;
}

async function publishStatus({ to, status, path }) {
    if (/^\.{1,2}$/.test(status)) {
        throw new HubError(0, 'A status of dots alone cannot be part of a path.');
    }
    try {
        await call(path, { method: 'POST' });
    } catch (error) {
        throw error.status === 404 ? new HubError(404, `${to} is not connected.`) : error;
    }
    $('outcome').textContent = `Sent “${status}” to ${to === '' ? 'everybody' : to}.`;
}

/* One after the other, or requests over several connections might overtake one another. */
let published = Promise.resolve();

$('publish').addEventListener('submit', (event) => {
    event.preventDefault();
    const one = { to: $('to').value, status: $('status').value, path: publishPath() };
    published = published.then(() => {
        $('outcome').textContent = '';
        return attempt(() => publishStatus(one));
    });
});
$('add').addEventListener('click', addClient);
$('to').addEventListener('change', showExample);
$('status').addEventListener('input', showExample);
document.addEventListener('visibilitychange', refreshRecipients);
setInterval(refreshRecipients, REFRESH_MS);

addClient();
addClient();
showExample();
