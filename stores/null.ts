import { Type } from '@sinclair/typebox'
import type { SessionStore } from '../types/store.js'
import { defineStore } from '../lib/define-store.js'
import { NoStoreError } from '../lib/errors.js'

/** Keeps nothing: reads are empty, and a write throws an error that names the option to set. */
export const nullStore = defineStore({
  type: 'null',
  options: Type.Object({}),
  open: () => ({ store: { refuse: () => new NoStoreError(), ...unreachable } })
})

/** The core asks a store that refuses writes for nothing. */
const unreachable: Omit<SessionStore, 'refuse'> = {
  load: refuse, create: refuse, update: refuse, touch: refuse, remove: refuse
}

async function refuse (): Promise<never> {
  throw new NoStoreError()
}
