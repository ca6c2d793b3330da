import type { Clock } from '../base/clock.js'

/** A clock that stands still until the test moves it. Starts at the system's time unless told otherwise. */
export class TestClock implements Clock {
  #now: number

  constructor (start: number | Date = Date.now()) {
    this.#now = Number(start)
  }

  now (): number {
    return this.#now
  }

  /** @param seconds how far; negative moves back */
  advance (seconds: number): void {
    this.#now += Math.round(seconds * 1000)
  }
}
