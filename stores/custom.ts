import { Type } from '@sinclair/typebox'
import type { SessionBackend } from '../types/store.js'
import { defineStore, Live } from '../lib/define-store.js'

const verbs = ['read', 'create', 'update', 'touch', 'remove'] as const

/** Any backend by value, for those who need no options of their own; else see `defineStore`. */
export const customStore = defineStore({
  type: 'custom',
  options: Type.Object({
    backend: Live<SessionBackend>(`an object with the methods ${verbs.join(', ')}`, isBackend, 'The backend.')
  }),
  open: ({ backend }) => ({ backend })
})

function isBackend (value: unknown): boolean {
  return typeof value === 'object' && value !== null &&
    verbs.every(verb => typeof (value as Record<string, unknown>)[verb] === 'function')
}
