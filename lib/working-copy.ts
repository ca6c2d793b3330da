import { assertCarriable } from './codec.js'
import { ValueError } from './errors.js'

export type Data = Record<string, unknown>

/** What a request did to one key. `apply` is run again on whatever another request has stored meanwhile. */
type Change =
  | { key: string, kind: 'set', value: unknown }
  | { key: string, kind: 'delete' }
  | { key: string, kind: 'apply', steps: Step[] }

type Step = (value: unknown) => unknown

/**
 * What was stored under a key when this request first touched it: a primitive, an object's text, or nothing.
 */
type Baseline = unknown
class Text { constructor (readonly json: string) {} }
const ABSENT = Symbol('absent')
/**
 * An object that has become circular or the like: never equal, so that the commit meets it and says where.
 */
const UNCARRIABLE = Symbol('uncarriable')

/** The changes of one commit, fixed when the commit began. */
export interface Batch {
  readonly changes: readonly Change[]
  /** When set, only these keys of the stored data are kept. */
  readonly only: ReadonlySet<string> | null
  readonly baselines: Map<string, Baseline>
  readonly updates: Map<string, Update>
}

interface Update { steps: Step[], result: Baseline }

/**
 * The data of a session as one request sees and changes them. Knows which keys this request changed: keys
 * that were set or deleted, and objects that were handed out and are not what they were.
 */
export class WorkingCopy {
  #data: Data
  /** Only keys that were handed out as objects, set or deleted: all others are unchanged. */
  #baselines = new Map<string, Baseline>()
  /** Keys whose whole change is known as functions. */
  #updates = new Map<string, Update>()
  #only: ReadonlySet<string> | null = null

  constructor (data: Data) {
    this.#data = inert(data)
  }

  has (key: string): boolean {
    return key in this.#data
  }

  keys (): string[] {
    return Object.keys(this.#data)
  }

  get (key: string): unknown {
    const value = this.#data[key]
    if (typeof value === 'object' && value !== null) this.#remember(key)
    return value
  }

  set (key: string, value: unknown): void {
    if (value === undefined) {
      this.delete(key)
      return
    }
    assertCarriable(value, key)
    this.#remember(key)
    this.#updates.delete(key)
    this.#data[key] = value
  }

  delete (key: string): boolean {
    if (!this.has(key)) return false
    this.#remember(key)
    this.#updates.delete(key)
    return delete this.#data[key]
  }

  clear (): void {
    for (const key of this.keys()) this.delete(key)
  }

  update (key: string, step: Step): unknown {
    this.#remember(key)
    const previous = this.#updates.get(key)
    const expected = previous === undefined ? this.#baselines.get(key) : previous.result
    const replayable = same(this.#baseline(key), expected)
    const value = step(this.#data[key])
    if (value instanceof Promise) throw new ValueError(key, 'a promise; the function of update() must be synchronous')
    this.set(key, value)
    if (replayable) {
      this.#updates.set(key, { steps: [...previous?.steps ?? [], step], result: this.#baseline(key) })
    }
    return value
  }

  /** A copy that shares nothing with the session. */
  data (): Data {
    return structuredClone({ ...this.#data })
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
      if (!same(this.#baseline(key), baseline)) return true
    }
    return false
  }

  /** Drops all keys but these, from what is stored by others meanwhile as well. */
  keepOnly (keys: Iterable<string>): void {
    const kept = new Set(keys)
    this.#only = intersection(kept, this.#only)
    for (const key of this.keys()) {
      if (kept.has(key)) continue
      delete this.#data[key]
      this.#baselines.set(key, ABSENT)
      this.#updates.delete(key)
    }
  }

  /** What there is to commit now. Changes made from here on belong to the next batch. */
  begin (): Batch {
    const baselines = new Map<string, Baseline>()
    const changes: Change[] = []
    for (const [key, before] of this.#baselines) {
      const now = this.#baseline(key)
      baselines.set(key, now)
      if (same(now, before)) continue
      const update = this.#updates.get(key)
      if (update !== undefined && same(update.result, now)) changes.push({ key, kind: 'apply', steps: update.steps })
      else if (now === ABSENT) changes.push({ key, kind: 'delete' })
      else changes.push({ key, kind: 'set', value: this.#carriable(key) })
    }
    const batch = { changes, baselines, only: this.#only, updates: this.#updates }
    this.#updates = new Map()
    this.#only = null
    return batch
  }

  /** The batch was written: what it holds is no change any more. */
  settle (batch: Batch): void {
    for (const [key, baseline] of batch.baselines) this.#baselines.set(key, baseline)
  }

  /** The batch was not written: all of it is still to be committed. */
  restore (batch: Batch): void {
    if (batch.only !== null) this.#only = intersection(batch.only, this.#only)
    for (const [key, { steps, result }] of batch.updates) {
      const later = this.#updates.get(key)
      this.#updates.set(key, { steps: [...steps, ...later?.steps ?? []], result: later?.result ?? result })
    }
  }

  /**
   * Another request has written `stored` meanwhile. Takes over what it changed, applies the batch to it
   * again and returns the data to write. References to objects that nobody changed stay valid.
   */
  rebase (batch: Batch, stored: Data): Data {
    const merged = inert(stored)
    if (batch.only !== null) {
      for (const key of Object.keys(merged)) if (!batch.only.has(key)) delete merged[key]
    }
    for (const change of batch.changes) apply(change, merged)

    const ours = new Set(batch.changes.filter(({ kind }) => kind !== 'apply').map(({ key }) => key))
    for (const key of new Set([...this.keys(), ...Object.keys(merged)])) {
      if (!ours.has(key)) this.#takeOver(key, batch, key in merged ? merged[key] : undefined)
    }
    return merged
  }

  #takeOver (key: string, batch: Batch, theirs: unknown): void {
    const stored = snapshotOf(theirs)
    const present = this.#baseline(key)
    if (same(stored, present)) return
    const known = [batch.baselines, this.#baselines].find(baselines => baselines.has(key))
    const isUntouched = known === undefined || same(present, known.get(key))
    if (known !== undefined) known.set(key, stored)
    const later = this.#updates.get(key)
    if (!isUntouched && later === undefined) return
    const value = later === undefined ? theirs : run(later.steps, theirs)
    if (value === undefined) delete this.#data[key]
    else this.#data[key] = value
    if (later !== undefined) later.result = this.#baseline(key)
  }

  #remember (key: string): void {
    if (!this.#baselines.has(key)) this.#baselines.set(key, this.#baseline(key))
  }

  /** The key's present value, in the form that baselines have. */
  #baseline (key: string): Baseline {
    return snapshotOf(this.#data[key])
  }

  #carriable (key: string): unknown {
    const value = this.#data[key]
    assertCarriable(value, key)
    return value
  }
}

/** A shallow copy without a prototype: `__proto__` and `constructor` are keys like any other. */
function inert (data: Data): Data {
  return Object.assign(Object.create(null), data)
}

function intersection (kept: ReadonlySet<string>, only: ReadonlySet<string> | null): ReadonlySet<string> {
  return only === null ? kept : new Set([...kept].filter(key => only.has(key)))
}

function apply (change: Change, data: Data): void {
  if (change.kind === 'set') data[change.key] = change.value
  else if (change.kind === 'delete') delete data[change.key]
  else {
    const value = run(change.steps, data[change.key])
    if (value === undefined) delete data[change.key]
    else data[change.key] = value
  }
}

function run (steps: Step[], value: unknown): unknown {
  return steps.reduce((result, step) => step(result), value)
}

function snapshotOf (value: unknown): Baseline {
  if (value === undefined) return ABSENT
  if (typeof value !== 'object' || value === null) return value
  try {
    return new Text(JSON.stringify(value))
  } catch {
    return UNCARRIABLE
  }
}

function same (a: Baseline, b: Baseline): boolean {
  if (a instanceof Text && b instanceof Text) return a.json === b.json
  return a === b && a !== UNCARRIABLE
}
