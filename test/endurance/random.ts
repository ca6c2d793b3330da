/** Numbers that look random and are the same for the same seed: Mulberry32, by Tommy Ettinger. */
export class Random {
  #state: number

  constructor (seed: number) {
    this.#state = seed
  }

  /** A whole number from 0 to `limit` - 1. */
  below (limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }

  oneOf<T> (values: ArrayLike<T>): T {
    return values[this.below(values.length)]
  }

  /** Between `least` and `most` results of `make`. */
  some<T> (least: number, most: number, make: () => T): T[] {
    return Array.from({ length: least + this.below(most - least + 1) }, make)
  }
}
