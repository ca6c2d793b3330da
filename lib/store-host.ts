import type { FastifyInstance } from 'fastify'
import type { Prompt, SessionBackend, SessionStore } from '../types/store.js'
import type { StoreByName } from './config/session-options.js'
import type { PartSettings } from './config/session-parts.js'
import type { KeptStore, StoreContext, StorePlugin } from './define-store.js'
import type { Sweeper } from './records/sweeper.js'
import { InFlight } from './base/in-flight.js'
import { nearest, show } from './base/options.js'
import { Resource, connectionKey } from './base/resource.js'
import { cookieName } from './cookie/cookie.js'
import { isStorePlugin } from './define-store.js'
import { OptionError } from './errors.js'
import { keyedStore } from './records/keyed-store.js'
import { createRecords } from './records/records.js'
import { createSealer } from './records/seal.js'
import { createSealedRecords } from './records/sealed-records.js'
import { createSigner } from './records/sign.js'
import { createSweeper } from './records/sweeper.js'

/** The built-in stores by their nouns, each imported when it is named. */
export type StoreTable = Readonly<Record<string, () => Promise<(options?: never) => StorePlugin>>>

export interface HostedStore {
  store: Prompt<SessionStore>
  /** The store's noun, as errors name it. */
  type: string
  /** The store closes after the last of them. */
  commits: InFlight
}

/** The connections that the sessions of one registration share, by what they connect to. */
export type Connections = Map<string, Resource<unknown>>

/** Registers the configured store inside the session plugin, and makes of it what the core talks to. */
export async function hostStore (
  fastify: FastifyInstance, part: PartSettings, table: StoreTable, connections: Connections
): Promise<HostedStore> {
  const { options, label } = part
  const plugin = isStorePlugin(options.store) ? options.store : await storeByName(options.store, table, label)
  const commits = new InFlight()
  let sweeper: Sweeper | undefined
  let store: Prompt<SessionStore> | undefined
  let type = ''

  await fastify.register(plugin, {
    context: createContext(fastify, part, connections),
    async drained () {
      await sweeper?.stop()
      await commits.over()
    },
    opened (noun: string, opened: KeptStore) {
      type = noun
      store = 'store' in opened ? opened.store : hostBackend(opened.backend)
    }
  })
  if (store === undefined) throw new OptionError(`${label} option store must be made with defineStore`)
  if (options.renewInterval !== null && store.tokenIsRecord) {
    throw new OptionError(`${label} option renewInterval must be null for the ${type} store, ` +
      'whose cookie is new with each write')
  }
  if (options.maxPerUser !== undefined && store.index?.keysOf === undefined) {
    throw new OptionError(`${label} option maxPerUser needs a store that lists the sessions of a user; ` +
      `${type} does not`)
  }

  function hostBackend (backend: Prompt<SessionBackend>): Prompt<SessionStore> {
    const { secrets, name, clock, generateId, sweepInterval, storeTimeout } = options
    const { renewInterval, renewGrace } = options
    sweeper = createSweeper(backend, { sweepInterval, storeTimeout, clock, log: fastify.log })
    const signer = secrets === null ? null : createSigner(secrets, name)
    const sealer = options.encryption ? createSealer(secrets!, 'store', name) : null
    const records = createRecords(options, sealer)
    return keyedStore(backend, {
      name,
      clock,
      records,
      generateId,
      signer,
      storeTimeout,
      renewInterval,
      renewGrace,
      log: fastify.log,
      onUse: sweeper.start
    })
  }

  return {
    store,
    type,
    commits
  }
}

function createContext (
  fastify: FastifyInstance, { options, label, namespace }: PartSettings, connections: Connections
): StoreContext {
  const { name, clock, secrets } = options
  return {
    name,
    namespace,
    clock,
    log: fastify.log,
    connect<T> (
      type: string, options: unknown, open: () => Promise<T>, close: (opened: T) => Promise<unknown>
    ) {
      const key = connectionKey(type, options)
      const shared = connections.get(key) as Resource<T> | undefined
      if (shared !== undefined) return shared.share()
      const resource = new Resource(open, close)
      connections.set(key, resource as Resource<unknown>)
      return resource
    },
    sealedRecords () {
      if (secrets === null) throw new OptionError(`${label} option secret must be set: it seals the cookie`)
      const sealer = createSealer(secrets, 'cookie', name)
      const records = createRecords(options, null)
      return createSealedRecords(records, sealer, name, cookieName(options.cookie, name, label))
    }
  }
}

async function storeByName (
  { type, ...options }: StoreByName, table: StoreTable, label: string
): Promise<StorePlugin> {
  if (Object.hasOwn(table, type)) {
    const factory = await table[type]()
    return factory(options as never)
  }
  const near = nearest(type, Object.keys(table))
  throw new OptionError(`${label} option store.type ${show(type)} is unknown; there are ` +
    Object.keys(table).join(', ') + (near === undefined ? '' : `; did you mean '${near}'?`))
}
