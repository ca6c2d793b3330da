/**
 * Something that is opened once and closed once: a connection, a pool, a prepared directory. It opens at the
 * first
 * `get()`; parallel callers share that opening; a failed one is forgotten, so that the next caller tries
 * again.
 */
export class Resource<T> {
  readonly #open: () => Promise<T>
  readonly #close: (opened: T) => Promise<unknown>
  /** Undefined: not open, or the last opening failed. Settles with what was opened. */
  #opened: Promise<T> | undefined
  #users = 1
  #closed = false

  constructor (open: () => Promise<T>, close: (opened: T) => Promise<unknown>) {
    this.#open = open
    this.#close = close
  }

  get (): Promise<T> {
    if (this.#closed) return Promise.reject(new Error('it is closed'))
    if (this.#opened === undefined) {
      this.#opened = this.#open()
      this.#opened.catch(() => { this.#opened = undefined })
    }
    return this.#opened
  }

  /** One more user, whose `close()` is awaited before the resource is really closed. */
  share (): this {
    this.#users++
    return this
  }

  /** Closes when the last user has closed. What was never opened is not opened for that. */
  async close (): Promise<void> {
    this.#users--
    if (this.#users > 0 || this.#closed) return
    this.#closed = true
    const opened = await this.#opened?.catch(() => undefined)
    if (opened !== undefined) await this.#close(opened)
  }
}
