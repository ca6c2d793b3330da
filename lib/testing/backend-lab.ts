import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Instant, RecordIndex, SessionBackend, StoredRecord } from '../../types/store.js'
import type { StorePlugin } from '../define-store.js'
import { TestClock } from './clock.js'
import type { OpenBackend } from './open-store.js'
import { openBackend } from './open-store.js'

/** The optional abilities of a backend that the suite checks. */
export type Ability = 'keysOf' | 'removeAllOf' | 'sweep' | 'count' | 'ping'

/** The engine under test, where the suite may stop it. */
export interface SuiteEngine {
  /** Resolves when the engine accepts no connection any more. */
  stop (): Promise<void>
  /** Resolves when it accepts connections again, at the same address. It may have lost its records. */
  start (): Promise<void>
  /** Keeps its connections open but answers nothing, as SIGSTOP does. */
  pause? (): Promise<void>
  resume? (): Promise<void>
}

/** What a store's author tells of the store and its engine. */
export interface BackendSuite {
  /** Registers one case: `test` of node:test, tap or vitest. */
  test: (name: string, run: () => Promise<void>) => unknown
  /** Put before each case's name. Default: nothing. */
  name?: string
  /**
   * The store on the engine under test.
   *
   * @param space at most 20 of `[a-z0-9_]`, for the prefix, table or directory. Stores of equal spaces see
   * the same records, stores of different spaces see none of each other's. Each case uses new ones
   */
  store (space: string): StorePlugin
  /** The optional abilities that the backend has. A case checks that it has these and no others. */
  abilities: readonly Ability[]
  /**
   * The largest value in bytes that the engine takes. A larger one must be refused by an error that names
   * the limit, before anything is written. Default: no limit; 1 MB is tried.
   */
  maxValue?: number
  /** False where records live in the memory of one instance, invisible to a second one. Default: true. */
  shared?: boolean
  /** 's' where the engine keeps expiries in whole seconds; it must then round up. Default: 'ms'. */
  expiryPrecision?: 'ms' | 's'
  /** Stops and starts the engine. Default: the store has no engine of its own, S20 does not apply. */
  engine?: SuiteEngine
  /** After how many seconds S20 takes silence for a failure; recovery has four times as long. Default: 5. */
  timeout?: number
  /** How often a verb races another one (S23, S24). Default: 1000. */
  rounds?: number
  /** How many random sequences the model test (S30) tries. Needs the package fast-check. Default: 50. */
  numRuns?: number
  /** Where the model test's randomness starts, as its failure prints it. Default: another one each time. */
  seed?: number
}

type Value = StoredRecord['value']

/** What one case works with. */
export interface Lab {
  readonly options: BackendSuite
  /** Starts at a whole second, so that most cases need not care for `expiryPrecision`. */
  readonly clock: TestClock
  /** A part of the engine that nobody else uses. */
  readonly space: string
  /** Opened on `space`. */
  readonly backend: SessionBackend
  /** Opens another one; it is closed with the case. */
  open (space?: string, namespace?: string): Promise<SessionBackend>
  /** The same tools for another backend. */
  on (backend: SessionBackend): Lab
  /** `backend`, and a second one on the same space where the engine shares its records. */
  peers (): Promise<[SessionBackend, SessionBackend]>
  /** The instant in so many seconds. */
  after (seconds: number): Instant
  /** A record with a version of its own that expires in `seconds`, or at an instant. */
  record (value: Value, seconds?: number): StoredRecord
  index (principal?: string | null): RecordIndex
  /** Creates a record and tells the version that `read` returns. */
  put (key: string, value?: Value, principal?: string | null, seconds?: number): Promise<string>
  /** The record under a key, which must be there. */
  get (key: string): Promise<StoredRecord>
  /** Checks what `read` returns. */
  holds (key: string, record: Pick<StoredRecord, 'value' | 'expiresAt'>): Promise<void>
  absent (...keys: string[]): Promise<void>
}

export type Check = (name: string, run: (lab: Lab) => Promise<void>) => void

/** A key as the core makes them: a SHA-256 hash in base64url. */
export const newKey = () => randomBytes(32).toString('base64url')
export const newKeys = (count: number) => Array.from({ length: count }, newKey)
export const newSpace = () => 's' + randomBytes(6).toString('hex')

/** From when on an expiry has come on this engine. */
export function dueAt (options: BackendSuite, expiresAt: Instant): Instant {
  return options.expiryPrecision === 's' ? Math.ceil(expiresAt / 1000) * 1000 : expiresAt
}

/** Runs one case in a space of its own and closes what it opened, however it ends. */
export async function withLab (options: BackendSuite, run: (lab: Lab) => Promise<void>): Promise<void> {
  const opened: OpenBackend[] = []
  const clock = new TestClock(Math.floor(Date.now() / 1000) * 1000)
  const space = newSpace()

  async function open (inSpace = space, namespace = '') {
    const store = await openBackend(options.store(inSpace), { clock, namespace })
    opened.push(store)
    return store.backend
  }

  try {
    const backend = await open()
    await run(createLab({ options, clock, space, backend, open }))
  } finally {
    for (const store of opened) await store.close()
  }
}

function createLab (base: Pick<Lab, 'options' | 'clock' | 'space' | 'backend' | 'open'>): Lab {
  const { options, clock, backend, open } = base
  const after = (seconds: number) => clock.now() + Math.round(seconds * 1000)
  const index = (principal: string | null = null) => ({ principal, createdAt: clock.now() })
  const record = (value: Value, seconds = 3600) =>
    ({ value, version: randomBytes(9).toString('base64url'), expiresAt: after(seconds) })

  async function get (key: string) {
    const found = await backend.read(key)
    assert.ok(found !== null, 'the record is there')
    return found
  }

  async function put (key: string, value: Value = 'data', principal?: string | null, seconds?: number) {
    const created = await backend.create(key, record(value, seconds), index(principal))
    assert.equal(created, true, 'the record is created')
    return (await get(key)).version
  }

  async function holds (key: string, expected: Pick<StoredRecord, 'value' | 'expiresAt'>) {
    const found = await get(key)
    sameValue(found.value, expected.value)
    assert.deepEqual({ expiresAt: found.expiresAt }, { expiresAt: expected.expiresAt })
    assert.equal(typeof found.version, 'string', 'a version is text')
  }

  async function absent (...keys: string[]) {
    for (const key of keys) assert.equal(await backend.read(key), null, 'no record is there')
  }

  async function peers (): Promise<[SessionBackend, SessionBackend]> {
    return [backend, options.shared === false ? backend : await open()]
  }

  const on = (other: SessionBackend) => createLab({ ...base, backend: other })

  return { ...base, on, peers, after, record, index, put, get, holds, absent }
}

/** Text must come back as the same text, bytes as the same bytes (a Buffer will do). */
export function sameValue (found: Value, expected: Value): void {
  if (typeof expected === 'string') {
    assert.equal(typeof found, 'string', 'text comes back as text')
    assert.ok(found === expected, 'text comes back as it was')
  } else {
    assert.ok(found instanceof Uint8Array, 'bytes come back as bytes')
    assert.ok(Buffer.compare(found, expected) === 0, 'bytes come back as they were')
  }
}

/** Rejects when `call` has not settled in time, as the core does with its `storeTimeout`. */
export async function bounded<T> (call: Promise<T>, seconds: number): Promise<T> {
  const timer = new AbortController()
  try {
    return await Promise.race([call, sleep(seconds * 1000, undefined, { signal: timer.signal }).then(() => {
      throw new Error(`no answer within ${seconds} s`)
    })])
  } finally {
    timer.abort()
  }
}

/** Waits a short while in some of the rounds, so that a race meets in different places. */
export async function stagger (round: number): Promise<void> {
  for (let i = round % 5; i > 0; i--) await new Promise(resolve => setImmediate(resolve))
}

/** Runs `rounds` rounds, a few at a time. */
export async function inRounds (rounds: number, run: (round: number) => Promise<void>): Promise<void> {
  const width = 10
  for (let first = 0; first < rounds; first += width) {
    const batch = Array.from({ length: Math.min(width, rounds - first) }, (_, i) => run(first + i))
    for (const round of await Promise.allSettled(batch)) {
      if (round.status === 'rejected') throw round.reason
    }
  }
}

export async function collect<T> (items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
