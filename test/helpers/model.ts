import type { Clock } from '../../lib/base/clock.js'
import type { Data } from './sequential.js'
import { SequentialWriter } from './sequential.js'

/** Seconds, as the options of the application under test. */
export const limits = { idleTimeout: 1800, absoluteTimeout: 5000, touchInterval: 60 }

/** One thing that a handler does to its session. */
export interface Act {
  do: 'set' | 'delete' | 'push' | 'count' | 'regenerate' | 'keep' | 'login' | 'logout' | 'save' | 'reload' | 'touch'
  key: string
}

/** A session as it ought to be stored. */
export interface ModelSession {
  data: Data
  principal: string | null
  createdAt: number
  authenticatedAt: number | null
  expiresAt: number
}

/** All sessions there ought to be. Ids are counted. */
export class ModelStore {
  readonly clock: Clock
  readonly #sessions = new Map<number, ModelSession>()
  #issued = 0

  constructor (clock: Clock) {
    this.clock = clock
  }

  put (id: number, session: ModelSession): void {
    this.#sessions.set(id, structuredClone(session))
  }

  /** As it was put, even if it has ended since. */
  last (id: number | null): ModelSession | undefined {
    return this.#sessions.get(id ?? 0)
  }

  get (id: number | null): ModelSession | undefined {
    const found = this.#sessions.get(id ?? 0)
    return found !== undefined && this.clock.now() < found.expiresAt ? found : undefined
  }

  remove (id: number): void {
    this.#sessions.delete(id)
  }

  issue (): number {
    return ++this.#issued
  }

  live (): number[] {
    return [...this.#sessions.keys()].filter(id => this.get(id) !== undefined)
  }
}

/** What one request ought to do: by the documentation, one thing after the other, nothing failing. */
export class ModelRequest {
  readonly #store: ModelStore
  #id: number | null = null
  /** As this request saw it last. */
  #seen: ModelSession | undefined
  #writer = new SequentialWriter({})
  #doomed: number | null = null
  #ends = false
  readonly #cameWithCookie: boolean
  #rotates = false
  #touches = false
  #login: { principal: string, at: number } | null = null
  #isGone = false
  /** The last commit could not give the new id that was asked for: an error. */
  isLost = false
  /** What the browser is told at the end: an id, to forget what it has, or nothing. */
  told: number | 'forget' | null = null

  constructor (store: ModelStore, id: number | null) {
    this.#store = store
    this.#cameWithCookie = id !== null
    this.#see(store.get(id) === undefined ? null : id)
  }

  get id (): number | null {
    return this.#id
  }

  view (): Data {
    return this.#writer.view()
  }

  act ({ do: verb, key }: Act, value: number): void {
    const writer = this.#writer
    switch (verb) {
      case 'set': return writer.put(key, [value])
      case 'delete': return writer.put(key, undefined)
      case 'push': {
        const list = writer.view()[key]
        return Array.isArray(list) ? writer.put(key, [...list, value]) : undefined
      }
      case 'count': return writer.apply('n', n => Number(n ?? 0) + 1)
      case 'keep': case 'regenerate':
        if (verb === 'keep') writer.keepOnly([key])
        this.#rotates = true
        return
      case 'login':
        this.#rotates = true
        this.#login = { principal: `user${value}`, at: this.#store.clock.now() }
        return
      case 'logout':
        this.#doomed ??= this.#id
        this.#ends ||= this.#doomed !== null || this.#isGone || this.#cameWithCookie
        return this.#see(null)
      case 'touch': this.#touches = true
        return
      case 'save': return this.commit(false)
      case 'reload': {
        const id = this.#id ?? this.#doomed
        this.#doomed = null
        this.#ends = false
        this.#see(this.#store.get(id) === undefined ? null : id)
        this.#isGone ||= id !== this.#id
      }
    }
  }

  commit (failed: boolean): void {
    const logsIn = this.#login !== null
    this.#carryOut(failed)
    this.isLost = this.#isGone && logsIn && !failed
    if (!this.#isGone) return
    this.#rotates = this.#touches = false
    this.#login = null
  }

  #carryOut (failed: boolean): void {
    if (this.#ends) {
      if (this.#doomed !== null) this.#store.remove(this.#doomed)
      this.#doomed = null
      this.#ends = this.#isGone = false
      this.told = 'forget'
    }
    if (this.#isGone) return
    const hasChanges = this.#writer.isChanged() || this.#login !== null
    const saves = hasChanges && !failed
    if (this.#id === null) {
      const isEmpty = Object.keys(this.view()).length === 0 && this.#login === null
      if (saves && !isEmpty) this.#keep(this.#store.issue(), undefined, failed)
      return
    }
    const touches = !hasChanges && (this.#touches || this.#isTouchDue())
    if (!this.#rotates && !saves && !touches) return
    const found = this.#store.get(this.#id)
    if (found === undefined) return this.#leave()
    if (this.#rotates) {
      this.#store.remove(this.#id)
      this.#keep(this.#store.issue(), found, failed)
    } else if (saves) {
      this.#keep(this.#id, found, failed)
      if (Object.keys(this.view()).length === 0 && found.principal === null) this.#discard(this.#id)
    } else {
      this.#store.put(this.#id, { ...found, expiresAt: this.#endOf(found.createdAt) })
      this.#seen = this.#store.get(this.#id)
      this.#touches = false
    }
  }

  #keep (id: number, found: ModelSession | undefined, failed: boolean): void {
    const login = failed ? null : this.#login
    const createdAt = login?.at ?? found?.createdAt ?? this.#store.clock.now()
    if (!failed) {
      this.#writer.begin()
      this.#writer.rebase(found?.data ?? {})
      this.#writer.settle()
    }
    this.#store.put(id, {
      data: failed ? found!.data : this.view(),
      principal: login?.principal ?? found?.principal ?? null,
      createdAt,
      authenticatedAt: login?.at ?? found?.authenticatedAt ?? null,
      expiresAt: this.#endOf(createdAt)
    })
    if (id !== this.#id) this.told = id
    this.#see(id)
  }

  #discard (id: number): void {
    this.#store.remove(id)
    this.told = 'forget'
    this.#see(null)
  }

  #leave (): void {
    this.#isGone = true
    this.#see(null)
  }

  #see (id: number | null): void {
    this.#id = id
    // What a slow request stores may have ended: its login was too long ago.
    this.#seen = this.#store.last(id)
    this.#writer = new SequentialWriter(this.#seen?.data ?? {})
    this.#rotates = this.#touches = false
    this.#login = null
  }

  #isTouchDue (): boolean {
    const { createdAt, expiresAt } = this.#seen!
    return this.#endOf(createdAt) - expiresAt >= limits.touchInterval * 1000
  }

  #endOf (createdAt: number): number {
    const { idleTimeout, absoluteTimeout } = limits
    return Math.min(this.#store.clock.now() + idleTimeout * 1000, createdAt + absoluteTimeout * 1000)
  }
}
