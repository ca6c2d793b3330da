import type { Static, TObject } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { Awaitable, Prompt, SealedRecords, SessionBackend, SessionStore } from '../types/store.js'
import type { Clock } from './base/clock.js'
import type { Resource } from './base/resource.js'
import { checkOptions } from './base/options.js'
import { withinTime } from './base/time-limit.js'
import { DriverError, driverCause } from './errors.js'

export { principalHash } from './base/id.js'
export { Place } from './base/line.js'
export { Live, refuseBeside, refuseBoth } from './base/options.js'
export { withinTime } from './base/time-limit.js'
export { inTurn } from './base/turns.js'
export type { InTurn } from './base/turns.js'

/** Seconds that closing a store may take. */
const CLOSE_LIMIT = 5

const storeType = Symbol.for('fastify-sessions.store')

/** What a store gets to know of the session it serves. */
export interface StoreContext {
  /** The name of the session. */
  readonly name: string
  /**
   * Keeps sessions of several names apart inside one store: part of every key, '' when there is only one
   * session.
   */
  readonly namespace: string
  /** Where "now" comes from. Adapters never call `Date.now()`. */
  readonly clock: Clock
  /** For what an operator must know. Never an id, a secret or data. */
  readonly log: StoreLog
  /**
   * A connection that opens at its first `get()`. Stores of one type that ask with equal options share it; it
   * closes when the last of them has closed.
   *
   * @param type the store's noun
   * @param options what the connection is made of. Plain data are equal when they say the same, anything else
   * (a function, an agent) only to itself
   */
  connect<T> (
    type: string, options: unknown, open: () => Promise<T>, close: (opened: T) => Promise<unknown>
  ): Resource<T>
  /**
   * For a store that keeps nothing, because its token is the record itself.
   *
   * @throws FST_SESSIONS_OPTION when the session has no `secret`
   */
  sealedRecords (): SealedRecords
}

export interface StoreLog {
  debug (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
  error (fields: object, message: string): void
}

/** What is made of a store's options: an adapter, or a whole store; `prompt` where it answers at once. */
export type OpenedStore =
  | { backend: SessionBackend, prompt?: never }
  | { store: SessionStore, prompt?: never }
  | { prompt: KeptStore }

/** An adapter or a whole store, whichever way it answers. */
export type KeptStore = { backend: Prompt<SessionBackend> } | { store: Prompt<SessionStore> }

export interface StoreDefinition<S extends TObject> {
  /** The store's noun, as in `{ type: 'redis' }`. */
  type: string
  /** The options, each with a description and, unless it is required or optional, a default. */
  options: S
  /** Makes the store. Called once per registration, at boot; must not connect: use `context.connect`. */
  open (options: Readonly<Static<S>>, context: StoreContext): OpenedStore | Promise<OpenedStore>
}

/** How the session plugin hands its context to the nested store plugin and gets the store back. */
export interface StoreRegistration {
  context: StoreContext
  /** Resolves when no commit is in flight any more. */
  drained (): Promise<void>
  opened (type: string, store: KeptStore): void
}

/** A store by value: a Fastify plugin that the session plugin registers inside itself. */
export interface StorePlugin extends FastifyPluginAsync<StoreRegistration> {
  readonly [storeType]: string
}

/**
 * Makes the factory of a store. This is all that a store needs of the library.
 *
 * @example
 * export const redisStore = defineStore({ type: 'redis', options: Type.Object({ ... }), async open (options,
 * context) {
 *   return { backend: { read, create, update, touch, remove } }
 * } })
 */
export function defineStore<S extends TObject> (definition: StoreDefinition<S>) {
  return (received?: Partial<Static<S>>): StorePlugin => {
    const options = checkOptions(definition.options, received, `${definition.type} store`)
    async function sessionStore (fastify: FastifyInstance, registration: StoreRegistration) {
      const answer = await definition.open(options, registration.context)
      const opened: KeptStore = answer.prompt ?? answer
      if ('backend' in opened) {
        fastify.addHook('onClose', async function closeSessionStore () {
          await registration.drained()
          await closeInTime(definition.type, opened.backend, registration.context)
        })
      }
      registration.opened(definition.type, opened)
    }
    return Object.assign(sessionStore, { [storeType]: definition.type })
  }
}

/** An engine that does not answer must not hold up the end of the application. */
async function closeInTime (
  type: string, backend: { close? (): Awaitable<void> }, context: StoreContext
): Promise<void> {
  try {
    await withinTime(CLOSE_LIMIT, async () => backend.close?.())
  } catch (error) {
    context.log.warn({ store: type, err: driverCause(error) }, 'the session store was not closed in good order')
  }
}

export function isStorePlugin (value: unknown): value is StorePlugin {
  return typeof value === 'function' && storeType in value
}

/**
 * Imports a driver when it is first needed.
 *
 * @param load a literal `() => import('name')`, so that bundlers and readers see it
 * @throws FST_SESSIONS_DRIVER when the package is not installed, saying what to install
 */
export async function importDriver<T> (store: string, name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    throw new DriverError(store, name, { cause })
  }
}
