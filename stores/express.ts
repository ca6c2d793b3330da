import { Type } from '@sinclair/typebox'
import { defineStore, Live } from '../lib/define-store.js'
import type { Clock } from '../lib/base/clock.js'
import type { Instant, RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import { ask, isExpressStore, turnsOf } from './express-calls.js'
import type { ExpressStore } from './express-calls.js'

export type { ExpressStore } from './express-calls.js'

/** What is kept in the field `fastifySession` of the object that the express store is given. */
type Saved = ({ text: string } | { base64: string }) & Omit<StoredRecord, 'value'> & RecordIndex

/** The last instant whose year has four digits, for stores that write dates. */
const LAST: Instant = 253402300799000

/**
 * Keeps sessions in any store written for express-session. Such a store cannot compare and set: what this
 * process does to one session happens in turn, but between processes the last write wins, and a late write
 * brings back what another process has removed.
 */
export const expressStore = defineStore({
  type: 'express',
  options: Type.Object({
    store: Live<ExpressStore>('an express-session store: an object with the methods get, set and destroy',
      isExpressStore, 'A store made for express-session. It is used as it is and never closed.')
  }),

  open ({ store }, { name, namespace, clock, log }) {
    log.warn({ session: name }, 'the express store cannot compare and set: between processes the last write ' +
      'wins, and a write in flight can undo a logout; use a store of fastify-sessions where that matters')
    return { backend: expressBackend(store, namespace && `${namespace}.`, clock) }
  }
})

function expressBackend (store: ExpressStore, prefix: string, clock: Clock): SessionBackend {
  const inTurn = turnsOf(store)

  async function load (sid: string): Promise<Saved | null> {
    const session = await ask(store, 'get', sid) as { fastifySession?: Saved } | null | undefined
    const saved = session?.fastifySession
    return saved !== undefined && clock.now() < saved.expiresAt ? saved : null
  }

  /** The store's own idea of the expiry follows the system's clock, ours may be another. */
  async function save (sid: string, saved: Saved): Promise<void> {
    const maxAge = saved.expiresAt - clock.now()
    if (maxAge <= 0) {
      await ask(store, 'destroy', sid)
      return
    }
    const expires = new Date(Math.min(Date.now() + maxAge, LAST))
    const cookie = { path: '/', httpOnly: true, originalMaxAge: maxAge, maxAge, expires }
    await ask(store, 'set', sid, { cookie, fastifySession: saved })
  }

  /**
   * Check, then write: the contract of express-session allows no better. The turn makes it one step for this
   * process; another process may write between the two.
   */
  async function change (
    key: string, ifVersion: string | undefined, act: (sid: string, current: Saved) => Promise<unknown>
  ): Promise<WriteResult> {
    const sid = prefix + key
    return inTurn(sid, async () => {
      const current = await load(sid)
      if (current === null) return 'missing'
      if (ifVersion !== undefined && current.version !== ifVersion) return 'conflict'
      await act(sid, current)
      return 'ok'
    })
  }

  return {
    async read (key) {
      const saved = await load(prefix + key)
      return saved && { value: valueOf(saved), version: saved.version, expiresAt: saved.expiresAt }
    },

    async create (key, record, index) {
      const saved = toSaved(record, index)
      const sid = prefix + key
      return inTurn(sid, async () => {
        if (await load(sid) !== null) return false
        await save(sid, saved)
        return true
      })
    },

    async update (key, record, index, ifVersion) {
      const saved = toSaved(record, index)
      return change(key, ifVersion, sid => save(sid, saved))
    },

    /** Not the store's own touch, which moves its time to live and leaves ours. */
    async touch (key, expiresAt) {
      return await change(key, undefined, (sid, current) => save(sid, { ...current, expiresAt })) === 'ok'
    },

    async remove (key, ifVersion) {
      return change(key, ifVersion, sid => ask(store, 'destroy', sid))
    },

    async ping () {
      await ask(store, 'get', 'ping')
    }
  }
}

function toSaved ({ value, version, expiresAt }: StoredRecord, { principal, createdAt }: RecordIndex): Saved {
  const content = typeof value === 'string' ? { text: value } : { base64: Buffer.from(value).toString('base64') }
  return { ...content, version, expiresAt, principal, createdAt }
}

function valueOf (saved: Saved): string | Uint8Array {
  return 'text' in saved ? saved.text : Buffer.from(saved.base64, 'base64')
}
