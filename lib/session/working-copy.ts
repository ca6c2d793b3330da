import type { Codec } from '../records/codec.js'
import { put } from '../base/json-copy.js'
import { ValueError } from '../errors.js'
import { Frozen, jsonCodec } from '../records/codec.js'

export type Data = Record<string, unknown>

type Step = (value: unknown) => unknown

/** What a request did to one key. */
type Change =
  | { kind: 'put', value: Baseline }
  /** Run again on whatever another request has stored meanwhile. */
  | { kind: 'apply', steps: Step[] }

/** A value as it was at some moment: a primitive, a frozen object, or nothing. */
type Baseline = unknown
const ABSENT = Symbol('absent')
/**
 * An object that has become circular or the like: never equal, so that the commit meets it and says where.
 */
const UNCARRIABLE = Symbol('uncarriable')

/** The changes of one commit, fixed when the commit began. */
interface Batch {
  readonly changes: ReadonlyMap<string, Change>
  /** When set, only these keys of the stored data are kept. */
  readonly only: ReadonlySet<string> | null
  /** What is stored under the keys once the batch is written. */
  readonly results: Map<string, Baseline>
}

interface Update { steps: Step[], result: Baseline }

/**
 * The data of a session as one request sees and changes them. Knows which keys this request changed: keys
 * that were set or deleted, and objects that were handed out and are not what they were.
 */
export class WorkingCopy {
  readonly #codec: Codec
  #data: Data
  /**
   * What is stored, as far as this request knows. Only keys that were handed out as objects, set or deleted:
   * all others are unchanged.
   */
  #baselines = new Map<string, Baseline>()
  /** Keys whose whole change is known as functions. */
  #updates = new Map<string, Update>()
  #only: ReadonlySet<string> | null = null
  /** Being written. */
  #batch: Batch | null = null

  constructor (data: Data, codec: Codec = jsonCodec) {
    this.#codec = codec
    this.#data = { ...data }
  }

  has (key: string): boolean {
    return Object.hasOwn(this.#data, key)
  }

  keys (): string[] {
    return Object.keys(this.#data)
  }

  get (key: string): unknown {
    const value = fieldOf(this.#data, key)
    if (typeof value === 'object' && value !== null) this.#remember(key)
    return value
  }

  set (key: string, value: unknown): void {
    if (value === undefined || isEmptyFlash(key, value)) {
      this.delete(key)
      return
    }
    this.#codec.assertCarriable(value, key)
    this.#remember(key)
    this.#updates.delete(key)
    put(this.#data, key, value)
  }

  delete (key: string): boolean {
    if (!this.has(key)) return false
    this.#remember(key)
    return delete this.#data[key]
  }

  clear (): void {
    for (const key of this.keys()) this.delete(key)
  }

  update (key: string, step: Step): unknown {
    this.#remember(key)
    const previous = this.#updates.get(key)
    const expected = previous === undefined ? this.#expected(key) : previous.result
    const replayable = same(this.#snapshot(key), expected)
    const value = step(fieldOf(this.#data, key))
    if (value instanceof Promise) throw new ValueError(key, 'a promise; the function of update() must be synchronous')
    this.set(key, value)
    if (replayable) {
      this.#updates.set(key, { steps: [...previous?.steps ?? [], step], result: this.#snapshot(key) })
    }
    return value
  }

  /** A copy that shares nothing with the session, as the codec carries it. */
  data (): Data {
    return this.#codec.thaw(this.#codec.freeze(this.#data) as Frozen) as Data
  }

  /** The data themselves, to be encoded at once. */
  current (): Data {
    return this.#data
  }

  isEmpty (): boolean {
    return this.keys().length === 0
  }

  isModified (): boolean {
    if (this.#only !== null) return true
    for (const [key, baseline] of this.#baselines) {
      if (!same(this.#snapshot(key), baseline)) return true
    }
    return false
  }

  /**
   * Drops all keys but these, from what is stored by others meanwhile as well. Not while a batch is being
   * written.
   */
  keepOnly (keys: Iterable<string>): void {
    const kept = new Set(keys)
    this.#only = intersection(kept, this.#only)
    for (const key of this.keys()) {
      if (kept.has(key)) continue
      delete this.#data[key]
      this.#baselines.set(key, ABSENT)
    }
  }

  /**
   * Fixes what there is to commit now: changes made from here on belong to the next batch. Followed by
   * `settle` or `restore`.
   */
  begin (): void {
    const changes = new Map<string, Change>()
    const results = new Map<string, Baseline>()
    for (const [key, before] of this.#baselines) {
      const now = this.#snapshot(key)
      results.set(key, now)
      if (same(now, before)) continue
      this.#codec.assertCarriable(fieldOf(this.#data, key), key)
      const update = this.#updates.get(key)
      const isUpdate = update !== undefined && same(update.result, now)
      changes.set(key, isUpdate ? { kind: 'apply', steps: update.steps } : { kind: 'put', value: now })
    }
    this.#batch = { changes, results, only: this.#only }
    this.#updates = new Map()
    this.#only = null
  }

  /** The batch was written: what it holds is no change any more. */
  settle (): void {
    for (const [key, result] of this.#batch!.results) this.#baselines.set(key, result)
    this.#batch = null
  }

  /** The batch was not written: all of it is still to be committed. */
  restore (): void {
    const { changes, results, only } = this.#batch!
    for (const [key, change] of changes) {
      const later = this.#updates.get(key)
      if (change.kind === 'put') this.#updates.delete(key)
      else {
        const steps = [...change.steps, ...later?.steps ?? []]
        this.#updates.set(key, { steps, result: later === undefined ? results.get(key) : later.result })
      }
    }
    this.#only = only
    this.#batch = null
  }

  /**
   * Another request has written `stored` meanwhile. Applies the batch to that and returns the data to write,
   * to be encoded at once. What the others changed appears here too, but for keys that this request has
   * changed since the batch began. References to objects that nobody changed stay valid.
   */
  rebase (stored: Data): Data {
    const { changes, only } = this.#batch!
    const merged = { ...stored }
    if (only !== null) {
      for (const key of Object.keys(merged)) if (!only.has(key)) delete merged[key]
    }
    for (const key of new Set([...this.keys(), ...Object.keys(merged), ...this.#baselines.keys()])) {
      const before = this.#snapshotOf(fieldOf(merged, key))
      const change = changes.get(key)
      if (change !== undefined) assign(merged, key, this.#outcomeOf(change, fieldOf(merged, key), key))
      this.#follow(key, before, fieldOf(merged, key))
    }
    return merged
  }

  /**
   * @param stored what another request has stored under the key
   * @param value what the batch makes of it
   */
  #follow (key: string, stored: Baseline, value: unknown): void {
    const present = this.#snapshot(key)
    const result = this.#snapshotOf(value)
    const isUntouched = !this.#baselines.has(key) || same(present, this.#expected(key))
    if (this.#baselines.has(key)) this.#baselines.set(key, stored)
    if (this.#batch!.results.has(key)) this.#batch!.results.set(key, result)

    const later = this.#updates.get(key)
    if (isUntouched) {
      if (!same(present, result)) assign(this.#data, key, value)
    } else if (later !== undefined && same(present, later.result)) {
      assign(this.#data, key, this.#run(later.steps, this.#revive(result), key))
      later.result = this.#snapshot(key)
    }
  }

  #remember (key: string): void {
    if (!this.#baselines.has(key)) this.#baselines.set(key, this.#snapshot(key))
  }

  /** What is stored under a remembered key, once the batch is that is being written. */
  #expected (key: string): Baseline {
    const results = this.#batch?.results
    return results?.has(key) ? results.get(key) : this.#baselines.get(key)
  }

  #outcomeOf (change: Change, value: unknown, key: string): unknown {
    return change.kind === 'put' ? this.#revive(change.value) : this.#run(change.steps, value, key)
  }

  #run (steps: Step[], value: unknown, key: string): unknown {
    const result = steps.reduce((value, step) => step(value), value)
    this.#codec.assertCarriable(result, key)
    return result
  }

  #snapshot (key: string): Baseline {
    return this.#snapshotOf(fieldOf(this.#data, key))
  }

  #snapshotOf (value: unknown): Baseline {
    if (value === undefined) return ABSENT
    if (typeof value !== 'object' || value === null) return value
    try {
      return this.#codec.freeze(value)
    } catch {
      return UNCARRIABLE
    }
  }

  #revive (baseline: Baseline): unknown {
    if (baseline instanceof Frozen) return this.#codec.thaw(baseline)
    return baseline === ABSENT ? undefined : baseline
  }
}

/**
 * `@fastify/flash` writes an empty object whenever it is read, which would store a session for every visitor.
 */
function isEmptyFlash (key: string, value: unknown): boolean {
  return key === 'flash' && typeof value === 'object' && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0
}

function intersection (kept: ReadonlySet<string>, only: ReadonlySet<string> | null): ReadonlySet<string> {
  return only === null ? kept : new Set([...kept].filter(key => only.has(key)))
}

/** `constructor` is a key like any other. */
function fieldOf (data: Data, key: string): unknown {
  return Object.hasOwn(data, key) ? data[key] : undefined
}

function assign (data: Data, key: string, value: unknown): void {
  if (value === undefined) delete data[key]
  else put(data, key, value)
}

function same (a: Baseline, b: Baseline): boolean {
  if (a instanceof Frozen && b instanceof Frozen) return a.equals(b)
  return (a === b && a !== UNCARRIABLE) || (Number.isNaN(a) && Number.isNaN(b))
}
