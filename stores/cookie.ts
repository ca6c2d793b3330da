import { Type } from '@sinclair/typebox'
import type { Prompt, SessionStore } from '../types/store.js'
import { defineStore } from '../lib/define-store.js'

/**
 * Keeps the whole session in its cookie, encrypted and authenticated: no server keeps anything, so nothing
 * can be revoked before it expires.
 */
export const cookieStore = defineStore({
  type: 'cookie',
  options: Type.Object({}),
  open (_options, context) {
    const records = context.sealedRecords()
    const store: Prompt<SessionStore> = {
      tokenIsRecord: true,
      load: token => records.open(token),
      create: draft => records.seal(draft),
      update: (_token, draft) => records.seal(draft),
      touch: (_token, record, expiresAt) => records.seal({ ...record, expiresAt }),
      remove: () => 'ok'
    }
    return { prompt: { store } }
  }
})
