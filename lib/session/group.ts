import { inspect } from 'node:util'
import type { ResponseCookieOptions } from '../../types/session.js'
import type { Instant } from '../../types/store.js'
import type { OwnerOf } from './fields.js'
import type { Exchange, ReadableData, RequestSession, WritableData } from './request-session.js'
import type { SessionState } from './session.js'
import { noSuchSession } from '../base/options.js'
import { ForeignFieldError } from '../errors.js'

/** One session of several, within one request. */
export interface Part {
  readonly name: string
  readonly state: SessionState
  readonly exchange: Exchange & Held
  /** The session that this one is bound to. */
  readonly target: SessionState | null
}

/** What is to be said to the browser waits until all that belongs together has been written. */
export interface Held {
  hold (): void
  release (): void
}

/**
 * Several sessions as one: each field is read and written where it is owned, and the verbs act on all of
 * them. `part()` makes one of the same kind that shows one session only.
 */
export class SessionGroup implements RequestSession {
  readonly #parts: readonly Part[]
  /** All of the request: those that are bound to a shown one follow it. */
  readonly #all: readonly Part[]
  readonly #ownerOf: OwnerOf

  /** For `console.log`: neither ids nor data. A closure, for it is called on the proxy. */
  readonly [inspect.custom] = (): string => {
    return this.#parts.map(({ name, state }) => `${name}: ${inspect(state)}`).join(', ')
  }

  /**
   * @param parts in the order of their names
   * @param ownerOf the name of the part that owns a field
   */
  constructor (parts: readonly Part[], ownerOf: OwnerOf, all: readonly Part[] = parts) {
    this.#parts = parts
    this.#ownerOf = ownerOf
    this.#all = all
  }

  part (name: string): RequestSession {
    const part = this.#parts.find(part => part.name === name)
    if (part === undefined) throw noSuchSession(name)
    return this.#parts.length === 1 ? this : new SessionGroup([part], this.#ownerOf, this.#all)
  }

  /** The part that keeps the login: the owner of the field `principal`. It speaks for all of them. */
  get #main (): SessionState {
    const owner = this.#ownerOf('principal')
    return (this.#parts.find(({ name }) => name === owner) ?? this.#parts[0]).state
  }

  get #states (): SessionState[] {
    return this.#parts.map(({ state }) => state)
  }

  get isLoaded (): boolean {
    return this.#states.every(state => state.isLoaded)
  }

  get isUsed (): boolean {
    return this.#states.some(state => state.isUsed)
  }

  get isClosed (): boolean {
    return this.#states.every(state => state.isClosed)
  }

  get isNew (): boolean {
    return this.#main.isNew
  }

  get id (): string | null {
    return this.#main.id
  }

  get createdAt (): Instant | null {
    return this.#main.createdAt
  }

  get authenticatedAt (): Instant | null {
    return this.#main.authenticatedAt
  }

  get principal (): string | null {
    return this.#main.principal
  }

  get expiresAt (): Instant | null {
    return this.#main.expiresAt
  }

  isModified (): boolean {
    return this.#states.some(state => state.isLoaded && state.isModified())
  }

  isSaved (): boolean {
    return !this.isModified() && this.#states.some(state => state.isLoaded && state.isSaved())
  }

  readable (use: string): ReadableData {
    const readable = () => this.#states.map(state => state.readable(use))
    return {
      has: key => this.#owner(key)?.readable(use).has(key) ?? false,
      get: key => this.#owner(key)?.readable(use).get(key),
      keys: () => readable().flatMap(data => data.keys()),
      data: () => Object.fromEntries(readable().flatMap(data => Object.entries(data.data())))
    }
  }

  writable (use: string): WritableData {
    const writable = (key: string) => {
      const owner = this.#owner(key)
      if (owner === undefined) throw new ForeignFieldError(key, this.#ownerOf(key))
      return owner.writable(use)
    }
    return {
      set: (key, value) => writable(key).set(key, value),
      delete: key => writable(key).delete(key),
      update: (key, step) => writable(key).update(key, step),
      clear: () => this.#states.map(state => state.writable(use)).forEach(data => data.clear())
    }
  }

  /** Undefined where another part than those shown owns the field. */
  #owner (key: string): SessionState | undefined {
    const owner = this.#ownerOf(key)
    return this.#parts.find(({ name }) => name === owner)?.state
  }

  /**
   * Without `fields`, a part whose store fails is an error for those who use its fields, and for nobody else.
   */
  async load (fields?: readonly string[]): Promise<void> {
    if (fields === undefined) {
      await Promise.allSettled(this.#states.map(state => state.load()))
    } else {
      const owners = new Set(fields.map(field => this.#owner(field)))
      await all([...owners].map(owner => owner?.load()))
    }
  }

  async reload (): Promise<void> {
    await all(this.#states.map(state => state.reload()))
  }

  async regenerate (keys?: readonly string[]): Promise<void> {
    await all(this.#states.map(state => state.regenerate(keys)))
  }

  /** The login is kept in one part; the others get a new id with it. */
  async login (principal: string): Promise<void> {
    const main = this.#main
    await all(this.#states.map(state => state === main ? state.login(principal) : state.rotate()))
  }

  async remember (seconds?: number): Promise<void> {
    await all(this.#states.map(state => state.remember(seconds)))
  }

  async touch (): Promise<void> {
    await all(this.#states.map(state => state.touch()))
  }

  options (cookie: ResponseCookieOptions): void {
    for (const state of this.#states) state.options(cookie)
  }

  /** What is bound to a session ends with it. */
  async destroy (): Promise<void> {
    const [bound, free] = this.#inOrder()
    const ending = bound.map(({ state }) => state.destroy())
    await Promise.allSettled(ending)
    await all([...free.map(({ state }) => state.destroy()), ...ending])
  }

  /**
   * All stores are written before the browser is told anything. A login comes first, so that where it fails
   * the other parts keep the ids that the browser has. Bound parts come last: they keep the ids of those they
   * are bound to. When a write fails the browser is told of those ids only that have taken the place of what
   * it has: without them it would have lost its session.
   */
  async commit (failed = false): Promise<void> {
    const [bound, free] = this.#inOrder()
    const parts = [...free, ...bound]
    for (const { exchange } of parts) exchange.hold()
    try {
      await this.#write(free, bound, failed)
    } catch (error) {
      for (const { state, exchange } of parts) if (isReplaced(state)) exchange.release()
      throw error
    }
    for (const { exchange } of parts) exchange.release()
  }

  async #write (free: readonly Part[], bound: readonly Part[], failed: boolean): Promise<void> {
    const main = this.#main
    if (main.isRotating) await main.commit(failed)
    await all(free.map(({ state }) => state.commit(failed)))
    await all(bound.map(part => commitBound(part, failed)))
  }

  /** Never: what one part does may concern another. */
  isIdle (): boolean {
    return false
  }

  close (): void {
    for (const state of this.#states) state.close()
  }

  /** The parts shown and those bound to them: first the bound ones, then the others. */
  #inOrder (): [bound: Part[], free: Part[]] {
    const shown = this.#states
    const isBound = ({ target }: Part) => target !== null && shown.includes(target)
    return [this.#all.filter(isBound), this.#parts.filter(part => !isBound(part))]
  }
}

async function commitBound ({ state, target, exchange }: Part, failed: boolean): Promise<void> {
  const hasMoved = target!.handle !== target!.origin
  if (hasMoved && !state.isUsed && exchange.tokens.length > 0) await state.load()
  await state.commit(failed)
}

function isReplaced ({ origin, handle }: SessionState): boolean {
  return origin !== null && handle !== null && handle !== origin
}

/** Waits for all, and rejects as the first of them that did. */
async function all (work: ReadonlyArray<Promise<void> | undefined>): Promise<void> {
  const results = await Promise.allSettled(work)
  const failure = results.find(({ status }) => status === 'rejected')
  if (failure?.status === 'rejected') throw failure.reason
}
