/* A seeded generator for the randomised tests, so that a failing run can be repeated. */
export const seed = Number(process.env.SPATE_TEST_SEED ?? Date.now() % 0x7fffffff);

export class Random {
    #state;

    constructor(from) {
        this.#state = from >>> 0;
    }

    /* Uniform in [0, bound). Steps a 32-bit Weyl sequence and mixes it. */
    below(bound) {
        this.#state = (this.#state + 0x9e3779b9) >>> 0;
        let z = this.#state;
        z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
        z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
        return Math.floor((((z ^ (z >>> 16)) >>> 0) / 0x100000000) * bound);
    }

    pick(list) {
        return list[this.below(list.length)];
    }
}
