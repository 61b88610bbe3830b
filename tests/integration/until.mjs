/*
 * Waiting for a condition with a deadline. Nothing in this suite sleeps for a time and hopes: it waits
 * for what it wants to see, and says what it was when it does not come.
 *
 * Deadlines are generous, because they only end a test that fails; `--slow` stretches them further for
 * hubs under sanitizers or valgrind.
 */
let factor = 1;

export function setSlow(value) {
    factor = value;
}

export function scaled(seconds) {
    return seconds * 1000 * factor;
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Asks `probe` again and again until it gives something true, and returns that. */
export async function until(what, probe, seconds = 10) {
    const deadline = Date.now() + scaled(seconds);
    for (;;) {
        const value = await probe();
        if (value) {
            return value;
        }
        if (Date.now() > deadline) {
            throw new Error(`not within ${seconds * factor} s: ${what}`);
        }
        await pause(5);
    }
}

/* The promise's value, or an error that says what was waited for. */
export async function within(what, promise, seconds = 10) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(
            () => reject(new Error(`not within ${seconds * factor} s: ${what}`)),
            scaled(seconds),
        );
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}
