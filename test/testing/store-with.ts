import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { RecordIndex, SessionBackend, StoredRecord } from '../../types/store.js'
import type { StorePlugin, StoreRegistration } from '../../lib/define-store.js'
import type { Clock } from '../../lib/base/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { memoryStore } from '../../stores/memory.js'

export type Whole = Required<Omit<SessionBackend, 'close'>>

/** What a fault works with, beside the sound backend that it changes. */
export interface Tools {
  /** The records themselves, without the network before them: a call is done when it returns. */
  raw: Whole
  clock: Clock
  engine: Engine
  /** The raw records of any space and namespace, with another clock if one is given. */
  recordsOf (space: string, namespace: string, clock?: Clock): Promise<Whole>
  space: string
  namespace: string
}

/** Replaces verbs of a sound backend. Called for each instance. */
export type Fault = (sound: Whole, tools: Tools) => Faulty | Promise<Faulty>
type Faulty = Partial<SessionBackend>

export interface Engine {
  state: 'up' | 'down' | 'silent'
  stop (): Promise<void>
  start (): Promise<void>
  pause (): Promise<void>
  resume (): Promise<void>
}

/** A store whose instances share one engine in memory that can be stopped, with or without a fault. */
export function storeWith (fault: Fault = () => ({})) {
  const opened = new Map<string, Promise<Whole>>()
  const engine: Engine = {
    state: 'up',
    async stop () { engine.state = 'down' },
    async start () { engine.state = 'up' },
    async pause () { engine.state = 'silent' },
    async resume () { engine.state = 'up' }
  }

  function store (space: string): StorePlugin {
    async function openInstance (app: FastifyInstance, registration: StoreRegistration) {
      const { clock, namespace } = registration.context
      const recordsOf = (space: string, namespace: string, otherClock?: Clock) => {
        const name = `${space}/${namespace}/${otherClock !== undefined}`
        if (!opened.has(name)) opened.set(name, openRecords(otherClock ?? clock))
        return opened.get(name)!
      }
      const raw = await recordsOf(space, namespace)
      const sound = overNetwork(engine, raw)
      const faulty = await fault(sound, { raw, clock, engine, recordsOf, space, namespace })
      app.addHook('onClose', async () => faulty.close?.())
      registration.opened('faulty', { backend: { ...sound, ...faulty } })
    }
    return openInstance as unknown as StorePlugin
  }

  return { store, engine }
}

async function openRecords (clock: Clock): Promise<Whole> {
  const { backend } = await openBackend(memoryStore(), { clock })
  return { ...backend, ping: async () => {} } as Whole
}

/** Nothing is done at once, nor at all while the engine is down. */
export function overNetwork (engine: Engine, raw: Whole): Whole {
  async function reach () {
    await turn()
    while (engine.state === 'silent') await sleep(5)
    if (engine.state === 'down') throw new Error('connection refused')
  }

  function send<A extends unknown[], R> (verb: (...args: A) => Promise<R>) {
    return async (...args: A): Promise<R> => {
      const sent = args.map(arg => typeof arg === 'object' ? structuredClone(arg) : arg) as A
      await reach()
      return verb(...sent)
    }
  }

  return {
    read: send(raw.read),
    create: send(raw.create),
    update: send(raw.update),
    touch: send(raw.touch),
    remove: send(raw.remove),
    async * keysOf (principal) {
      await reach()
      yield * raw.keysOf(principal)
    },
    removeAllOf: send(raw.removeAllOf),
    sweep: send(raw.sweep),
    count: send(raw.count),
    ping: send(raw.ping)
  }
}

/** Writes whatever is there already, in one turn. */
export function overwrite (raw: Whole, key: string, record: StoredRecord, index: RecordIndex) {
  raw.remove(key)
  return raw.create(key, record, index)
}

/** Changes every expiry on its way in, and back on its way out. */
export function expiring (sound: Whole, into: (expiresAt: number) => number, out = (e: number) => e) {
  return {
    async read (key: string) {
      const found = await sound.read(key)
      return found && { ...found, expiresAt: out(found.expiresAt) }
    },
    create: (key: string, record: StoredRecord, index: RecordIndex) =>
      sound.create(key, { ...record, expiresAt: into(record.expiresAt) }, index),
    update: (key: string, record: StoredRecord, index: RecordIndex, ifVersion: string) =>
      sound.update(key, { ...record, expiresAt: into(record.expiresAt) }, index, ifVersion),
    touch: (key: string, expiresAt: number) => sound.touch(key, into(expiresAt))
  }
}

export const atWholeSeconds: Fault = sound => expiring(sound, e => Math.ceil(e / 1000) * 1000)

export function limitedTo (bytes: number, message: string): Fault {
  function check ({ value }: StoredRecord) {
    if (Buffer.byteLength(value) > bytes) throw new RangeError(message)
  }
  return sound => ({
    async create (key, record, index) {
      check(record)
      return sound.create(key, record, index)
    },
    async update (key, record, index, ifVersion) {
      check(record)
      return sound.update(key, record, index, ifVersion)
    }
  })
}
