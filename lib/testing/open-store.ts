import Fastify from 'fastify'
import type { Clock } from '../base/clock.js'
import { systemClock } from '../base/clock.js'
import type { KeptStore, StoreContext, StoreLog, StorePlugin } from '../define-store.js'
import type { Prompt, SessionBackend } from '../../types/store.js'
import { Resource } from '../base/resource.js'

export interface OpenBackendOptions {
  clock?: Clock
  /** As with several sessions in one store. */
  namespace?: string
  /** Receives what the store logs. */
  log?: StoreLog
}

export interface OpenBackend {
  backend: SessionBackend
  close (): Promise<void>
}

const silent: StoreLog = { debug () {}, info () {}, warn () {}, error () {} }

/**
 * Opens a store outside an application, through the same nested registration that the session plugin uses.
 */
export async function openBackend (
  plugin: StorePlugin, options: OpenBackendOptions = {}
): Promise<OpenBackend> {
  const app = Fastify()
  let opened: KeptStore | undefined
  const context: StoreContext = {
    name: options.namespace || 'session',
    namespace: options.namespace ?? '',
    clock: options.clock ?? systemClock,
    log: options.log ?? silent,
    connect: (_type, _options, open, close) => new Resource(open, close),
    sealedRecords: () => { throw noBackend() }
  }
  await app.register(plugin, {
    context,
    drained: async () => {},
    opened: (_type, store) => { opened = store }
  })
  await app.ready()
  if (opened === undefined || !('backend' in opened)) throw noBackend()
  return { backend: promising(opened.backend), close: () => app.close() }
}

/** With a promise for every answer, as the suite and most stores have it. */
function promising (backend: Prompt<SessionBackend>): SessionBackend {
  return new Proxy(backend, {
    get (target, name) {
      const verb: unknown = Reflect.get(target, name)
      if (typeof verb !== 'function') return verb
      return name === 'keysOf' ? verb.bind(target) : async (...args: unknown[]) => verb.apply(target, args)
    }
  }) as SessionBackend
}

function noBackend (): Error {
  return new TypeError('the store has no backend to open')
}
