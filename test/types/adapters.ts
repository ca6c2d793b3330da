// Compiled by `npm run types`, never run: the forms in which a store can be written.
import { Type } from '@sinclair/typebox'
import { defineStore } from 'fastify-sessions'
import type { SessionBackend, SessionStore } from 'fastify-sessions'

const options = Type.Object({ isWhole: Type.Boolean() })

export const byArrows = defineStore({
  type: 'arrows',
  options,
  open: () => ({
    backend: {
      read: async key => { key.trim(); return null },
      create: async (key, record, index) => key !== record.version && index.principal === null,
      update: async (_key, _record, _index, ifVersion) => ifVersion === '' ? 'ok' : 'conflict',
      touch: async (_key, expiresAt) => expiresAt > 1,
      remove: async () => 'ok'
    }
  })
})

export const byMethods = defineStore({
  type: 'methods',
  options,
  async open () {
    return {
      backend: {
        async read () { return null },
        async create () { return true },
        async update () { return 'ok' },
        async touch () { return true },
        async remove (_key, ifVersion) { return ifVersion === undefined ? 'ok' : 'conflict' },
        async * keysOf (principal) { yield { key: principal, createdAt: 1, expiresAt: 2 } }
      }
    }
  }
})

export const whole = defineStore({
  type: 'whole',
  options,
  open: () => ({
    store: {
      load: async token => ({ rejected: 'unknown', hash: token }),
      create: async draft => ({ token: String(draft.createdAt), version: '1', handle: null }),
      update: async () => 'missing',
      touch: async () => null,
      remove: async () => 'ok'
    }
  })
})

export const either = defineStore({
  type: 'either',
  options,
  open: ({ isWhole }) => isWhole ? { store: {} as SessionStore } : { backend: {} as SessionBackend }
})

export const atOnce = defineStore({
  type: 'at once',
  options,
  open: () => ({
    prompt: { backend: { read: () => null, create: () => true, update: () => 'ok', touch: () => true, remove: () => 'ok' } }
  })
})

export const unsaid = defineStore({
  type: 'unsaid',
  options,
  open: () => ({
    // @ts-expect-error -- answers at once, and does not say so
    backend: { read: () => null, create: () => true, update: () => 'ok', touch: () => true, remove: () => 'ok' }
  })
})
