/* A button that publishes something once a second, until it is pressed again or refused. */
import { AWAY, clearNotice, showNotice } from './common.js';

export function simulator(button, publishOne) {
    let timer = 0;
    const set = (on) => {
        clearInterval(timer);
        timer = on ? setInterval(tick, 1000) : 0;
        button.setAttribute('aria-pressed', String(on));
    };
    const tick = async () => {
        try {
            await publishOne();
            clearNotice();
        } catch (error) {
            showNotice(error);
            set(error.status === AWAY && timer !== 0); /* it goes on when the hub is back */
        }
    };
    button.addEventListener('click', () => {
        set(timer === 0);
        if (timer !== 0) {
            tick();
        }
    });
}
