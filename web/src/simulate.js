/* A button that publishes something once a second, until it is pressed again or refused. */
import { attempt } from './common.js';

export function simulator(button, publishOne) {
    let timer = 0;
    const set = (on) => {
        clearInterval(timer);
        timer = on ? setInterval(tick, 1000) : 0;
        button.setAttribute('aria-pressed', String(on));
    };
    const tick = async () => {
        const done = await attempt(async () => {
            await publishOne();
            return true;
        });
        if (!done) {
            set(false);
        }
    };
    button.addEventListener('click', () => {
        set(timer === 0);
        if (timer !== 0) {
            tick();
        }
    });
}
