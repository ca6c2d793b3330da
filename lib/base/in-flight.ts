/** What is under way, to be waited for. */
export class InFlight {
  #count = 0
  #waiting: Array<() => void> = []

  begin (): void {
    this.#count++
  }

  end (): void {
    this.#count--
    if (this.#count > 0) return
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Resolves when nothing is under way. */
  async over (): Promise<void> {
    while (this.#count > 0) await new Promise<void>(resolve => this.#waiting.push(resolve))
  }
}
