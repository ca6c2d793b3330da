import { sha256 } from './id.js'

const identities = new WeakMap<object, number>()
let identity = 0

/** Equal for equal options of one type; a hash, since there are secrets among options. */
export function connectionKey (type: string, options: unknown): string {
  return sha256(JSON.stringify([type, options], (_name, value) => isPlain(value) ? value : identityOf(value)))
}

function isPlain (value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return typeof value !== 'function'
  return [Object.prototype, null].includes(Object.getPrototypeOf(value))
}

function identityOf (value: object): string {
  if (!identities.has(value)) identities.set(value, ++identity)
  return `#${identities.get(value)}`
}

/**
 * Something that is opened once and closed once: a connection, a pool, a prepared directory. It opens at the
 * first `get()`; parallel callers share that opening; a failed one is forgotten, so that the next caller
 * tries again.
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

  /**
   * Closes what `get()` gave, which is of no use any more, so that the next `get()` opens again. Nothing
   * happens when that is done already.
   *
   * @param opened what `get()` returned, the promise itself
   */
  renew (opened: Promise<T>): void {
    if (this.#closed || this.#opened !== opened) return
    this.#opened = undefined
    opened.then(this.#close).catch(() => {})
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
