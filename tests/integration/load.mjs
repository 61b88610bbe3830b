/* spate-load, run against a hub, or against a server that a test makes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { cleanEnvironment, settings } from './hub.mjs';
import { within } from './until.mjs';

/*
 * Starts it; `ended` gives its exit code, its text and its JSON. `target` is a hub, which it speaks
 * to as the others do, an address, or null.
 */
export function start(target, args = [], { env = {} } = {}) {
    const program = path.join(path.dirname(settings.spate), 'spate-load');
    const patience = String(10 * settings.slow);
    const url = target?.url ?? target;
    const carrier = target?.url === undefined ? []
        : [...(target.tls ? ['--insecure'] : []), ...(target.h2 ? ['--h2'] : [])];
    const all = ['--quiet', '--json', '-', '--io', settings.io, '--drain', patience, ...carrier,
        ...args, ...(url ? [url] : [])];
    const child = spawn(program, all, { env: cleanEnvironment(env) });
    let out = '';
    let error = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (error += text));
    const ended = within('the end of spate-load', once(child, 'close'), 50)
        .then(([code]) => ({ code, out, error, json: out[0] === '{' ? JSON.parse(out) : null }))
        .finally(() => child.kill('SIGKILL'));
    return { child, ended };
}

export const run = (target, args, options) => start(target, args, options).ended;

export const counted = ({ json }) => {
    const { lost, duplicates, out_of_order, corrupt, other_id } = json.checks;
    return { lost, duplicates, out_of_order, corrupt, other_id };
};
export const none = { lost: 0, duplicates: 0, out_of_order: 0, corrupt: 0, other_id: 0 };
