import { isDeepStrictEqual } from 'node:util'

export type Data = Record<string, unknown>
type Step = (value: unknown) => unknown

/** What a writer has done to one key: put a value there (undefined: nothing), or run functions on it. */
type Effect = { put: unknown } | { apply: Step[] }
type Effects = ReadonlyMap<string, Effect>

/**
 * What a session promises of its data, in the plainest form: one writer of several, whose view is what is
 * stored with its own effects on top. Knows no objects handed out and remembers no values.
 */
export class SequentialWriter {
  /** As this writer saw it last. */
  #stored: Data
  #writing: Effects = new Map()
  #later: Effects = new Map()
  #only: readonly string[] | null = null
  #writingOnly: readonly string[] | null = null

  constructor (stored: Data) {
    this.#stored = structuredClone(stored)
  }

  view (): Data {
    return run(this.#later, this.#before())
  }

  /** What the later effects build upon. */
  #before (): Data {
    return limited(this.written(), this.#only)
  }

  /** What a write of the batch stores. */
  written (): Data {
    return run(this.#writing, limited(this.#stored, this.#writingOnly))
  }

  isChanged (): boolean {
    return this.#only !== null || !isDeepStrictEqual(this.view(), this.#before())
  }

  put (key: string, value: unknown): void {
    if (isDeepStrictEqual(this.view()[key], value)) return
    this.#note(key, { put: structuredClone(value) })
  }

  apply (key: string, step: Step): void {
    const before = this.#later.get(key)
    if (before === undefined) this.#note(key, { apply: [step] })
    else if ('put' in before) this.#note(key, { put: step(before.put) })
    else this.#note(key, { apply: [...before.apply, step] })
  }

  keepOnly (keys: readonly string[]): void {
    this.#only = this.#only === null ? keys : this.#only.filter(key => keys.includes(key))
    this.#later = new Map([...this.#later].filter(([key]) => keys.includes(key)))
  }

  begin (): void {
    const stored = limited(this.#stored, this.#only)
    const now = run(this.#later, stored)
    this.#writing = new Map([...this.#later].filter(([key]) => !isDeepStrictEqual(now[key], stored[key])))
    this.#writingOnly = this.#only
    this.#later = new Map()
    this.#only = null
  }

  /** Somebody else has written meanwhile. */
  rebase (stored: Data): void {
    this.#stored = structuredClone(stored)
    this.#dropEqual()
  }

  settle (): void {
    this.#stored = this.written()
    this.#writing = new Map()
    this.#writingOnly = null
  }

  restore (): void {
    const later = this.#later
    this.#later = this.#writing
    this.#only = this.#writingOnly
    this.#writing = new Map()
    this.#writingOnly = null
    for (const [key, effect] of later) {
      if ('put' in effect) this.#note(key, effect)
      else for (const step of effect.apply) this.apply(key, step)
    }
    this.#dropEqual()
  }

  #note (key: string, effect: Effect): void {
    this.#later = new Map([...this.#later, [key, effect]])
    this.#dropEqual()
  }

  /** What is there already is not a change. */
  #dropEqual (): void {
    const before = this.#before()
    this.#later = new Map([...this.#later].filter(([key, effect]) => {
      return 'apply' in effect || !isDeepStrictEqual(effect.put, before[key])
    }))
  }
}

function run (effects: Effects, data: Data): Data {
  const result = structuredClone(data)
  for (const [key, effect] of effects) {
    const value = 'put' in effect
      ? structuredClone(effect.put)
      : effect.apply.reduce((value, step) => step(value), result[key])
    if (value === undefined) delete result[key]
    else result[key] = value
  }
  return result
}

function limited (data: Data, only: readonly string[] | null): Data {
  return only === null ? data : Object.fromEntries(Object.entries(data).filter(([key]) => only.includes(key)))
}
