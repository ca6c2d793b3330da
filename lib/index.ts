import type {} from '@fastify/cookie'
import type { Session } from '../types/session.js'
import type { Sessions } from '../types/users.js'
import type { SessionRouteConfig } from './config/route-config.js'
import type { StoreByName } from './config/session-options.js'
import type { SessionFields } from './config/session-options.js'
import type { PartOptions } from './config/session-parts.js'
import type { CookieOptions } from './cookie/cookie-schema.js'
import type { StorePlugin } from './define-store.js'
import { createSessionPlugin } from './plugin.js'

declare module 'fastify' {
  interface FastifyInstance {
    /** The sessions of users: lists them, ends them, opens them outside a route. */
    readonly sessions: Sessions
  }

  interface FastifyRequest {
    /** The visitor's session. Costs nothing until it is used; `await session.load()` first. */
    readonly session: Session
  }

  interface FastifyContextConfig {
    /** What this route does with the session; see the option `load`. */
    session?: SessionRouteConfig
  }
}

/** The options of the plugin. Every field has a default. */
export interface SessionOptions extends SessionFields {
  /** Where sessions are kept: by data, or what a store factory returns. Default: in memory. */
  store?: StorePlugin | StoreByName
  cookie?: Partial<CookieOptions>
  /** Several sessions at once, by their names. All other options are their defaults then. */
  sessions?: Record<string, PartOptions>
}

/** Server-side sessions for Fastify 5. Register `@fastify/cookie` before it. */
const sessions = createSessionPlugin<SessionOptions>({
  memory: async () => (await import('../stores/memory.js')).memoryStore,
  file: async () => (await import('../stores/file.js')).fileStore,
  null: async () => (await import('../stores/null.js')).nullStore,
  cookie: async () => (await import('../stores/cookie.js')).cookieStore,
  custom: async () => (await import('../stores/custom.js')).customStore,
  redis: async () => (await import('../stores/redis.js')).redisStore,
  sql: async () => (await import('../stores/sql.js')).sqlStore,
  mongodb: async () => (await import('../stores/mongodb.js')).mongodbStore,
  memcached: async () => (await import('../stores/memcached.js')).memcachedStore,
  dynamodb: async () => (await import('../stores/dynamodb.js')).dynamodbStore,
  elasticsearch: async () => (await import('../stores/elasticsearch.js')).elasticsearchStore,
  firestore: async () => (await import('../stores/firestore.js')).firestoreStore,
  datastore: async () => (await import('../stores/datastore.js')).datastoreStore,
  express: async () => (await import('../stores/express.js')).expressStore
})

export default sessions
export { sessions }
export { defineStore, importDriver, Live } from './define-store.js'
export type { StoreContext, StoreDefinition, StoreLog, StorePlugin } from './define-store.js'
export type { ResponseCookieOptions, Session, SessionData, SessionMembers } from '../types/session.js'
export type * from '../types/serializer.js'
export { requireFresh } from './session/fresh.js'
export type * from '../types/store.js'
export type * from '../types/users.js'
export type { Clock } from './base/clock.js'
export type { SessionEvent, SessionMessage, SessionOperation, SessionTrace } from './base/diagnostics.js'
export { defineSessions } from './config/session-parts.js'
export type { Fields } from './session/fields.js'
export type { PartOptions } from './config/session-parts.js'
export type { SessionRouteConfig } from './config/route-config.js'
