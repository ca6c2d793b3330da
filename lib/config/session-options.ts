import { Type } from '@sinclair/typebox'
import type { Static, TObject } from '@sinclair/typebox'
import type { Serializer } from '../../types/serializer.js'
import type { Clock } from '../base/clock.js'
import type { StorePlugin } from '../define-store.js'
import type { Codec } from '../records/codec.js'
import type { DataSchema, Migrate } from '../records/data-schema.js'
import { systemClock } from '../base/clock.js'
import { checkedIds, randomIds } from '../base/id.js'
import { Live, OneOf, checkOptions } from '../base/options.js'
import { cookieSchema } from '../cookie/cookie-schema.js'
import { isStorePlugin } from '../define-store.js'
import { OptionError } from '../errors.js'
import { codecOf } from '../records/codec.js'
import { dataSchema, isObjectSchema } from '../records/data-schema.js'

const MIN_SECRET_BYTES = 32

type Secret = string | Uint8Array

const seconds = (description: string, initial: number | null) => Type.Union(
  [Type.Number({ exclusiveMinimum: 0 }), Type.Null()],
  { description, default: initial, expects: 'a number of seconds greater than 0, or null' }
)

/** All options of a session. The table in the README is made of this. */
export const sessionSchema = Type.Object({
  store: Type.Optional(Live<StorePlugin | StoreByName>(
    "a store, or an object with its type, as in { type: 'memory' }", isStore,
    "Where sessions are kept: `{ type, ...options }`, or what a store factory returns. Default `{ type: 'memory' }`."
  )),
  secret: Type.Optional(Live<Secret | Secret[]>(
    `a string or buffer of at least ${MIN_SECRET_BYTES} bytes, or an array of them`, isSecrets,
    `Signs the id in the cookie, or seals it; at least ${MIN_SECRET_BYTES} bytes. Of an array the first signs and all verify. ` +
    'Default: the id is not signed.'
  )),
  load: OneOf(['lazy', 'eager'], {
    default: 'lazy',
    description: "`'lazy'`: the store is read at `load()`. `'eager'`: before the handlers, when there is a cookie."
  }),
  idleTimeout: seconds('Seconds without use after which a session ends; null: never.', 1800),
  absoluteTimeout: seconds('Seconds after creation or login after which a session ends; null: never.', 43200),
  touchInterval: Type.Number({
    minimum: 0,
    default: 60,
    description: 'Seconds between two writes that only note activity; at most half of `idleTimeout` counts.'
  }),
  regenerate: OneOf(['keep', 'clear'], {
    default: 'keep',
    description: "What `regenerate()` without keys does with the data. `'clear'` is what @fastify/passport and " +
      'applications written for @fastify/session count on.'
  }),
  renewInterval: seconds('Seconds after which the cookie gets another value, in use as well; null: never.', null),
  renewGrace: Type.Number({
    minimum: 0,
    default: 30,
    description: 'Seconds that the value of before still counts, once the browser has presented the new one.'
  }),
  rememberFor: Type.Number({
    exclusiveMinimum: 0, default: 30 * 86400, description: 'Seconds that `remember()` gives when it is not told.'
  }),
  maxPerUser: Type.Optional(Type.Integer({
    minimum: 1, description: 'The most sessions that a user may have. Default: any number.'
  })),
  onMaxPerUser: OneOf(['evict', 'refuse'], {
    default: 'evict', description: 'What one login too many does: ends the oldest session, or is refused (409).'
  }),
  metadata: Type.Boolean({
    default: false,
    description: 'Keeps IP address and user agent of the request that logs in, for `app.sessions.listByUser()`.'
  }),
  cookie: cookieSchema,
  idBytes: Type.Integer({ minimum: 16, maximum: 64, default: 32, description: 'Random bytes in an id.' }),
  generateId: Type.Optional(Live<() => string>('a function', isFunction,
    'Makes ids in place of ours: 22 to 128 characters of `A-Z a-z 0-9 _ -`, never the same twice.')),
  storeTimeout: Type.Number({
    exclusiveMinimum: 0, maximum: 3600, default: 5, description: 'Seconds that one call of the store may take.'
  }),
  sweepInterval: Type.Union([Type.Number({ minimum: 1, maximum: 86400 }), Type.Null()], {
    default: 300,
    expects: 'a number of seconds from 1 to 86400, or null',
    description: 'Seconds between two removals of expired records, for stores whose engine does not expire them; ' +
      'null: never.'
  }),
  encryption: Type.Boolean({
    default: false, description: 'Encrypts and authenticates what the store keeps; needs `secret`.'
  }),
  serializer: Type.Optional(Live<Serializer>(
    'an object with a name of 1 to 40 characters and the functions serialize and deserialize', isSerializer,
    'Carries the data in place of JSON: `{ name, serialize, deserialize }`.'
  )),
  schema: Type.Optional(Live<TObject>('a TypeBox schema made with Type.Object()', isObjectSchema,
    'What the data have to be, checked when they are read and written. Any field may be absent.')),
  migrate: Type.Optional(Live<Migrate>('a function', isFunction,
    'Makes data that fit of stored ones that do not fit `schema`; without it they are corrupt.')),
  maxSize: Type.Integer({ minimum: 256, default: 65536, description: 'Bytes that an encoded session may take.' }),
  onCorrupt: OneOf(['ignore', 'throw'], {
    default: 'ignore', description: 'What a record that cannot be decoded is: no session, or an error.'
  }),
  name: Type.String({
    default: 'session',
    pattern: '^[A-Za-z][A-Za-z0-9_-]{0,39}$',
    expects: 'a letter and up to 39 of A-Z a-z 0-9 _ -',
    description: 'The name of the session, in the default cookie name, signatures and diagnostics.'
  }),
  sessions: Type.Optional(Live<Record<string, object>>('an object of sessions by their names', isSessions,
    'Several sessions at once, by their names; see below. All other options are their defaults then.')),
  clock: Type.Optional(Live<Clock>('an object with a method now()', isClock,
    'Where the time comes from; tests move it. Default: the system.'))
}, { additionalProperties: false })

/** A store named by data: `type` and the options of that store. */
export interface StoreByName { type: string, [option: string]: unknown }

type Checked = Readonly<Static<typeof sessionSchema>>
/** The options as a user writes them, but for those whose types the composition root knows better. */
export type SessionFields = Partial<Omit<Static<typeof sessionSchema>, 'store' | 'cookie' | 'sessions'>>
type Replaced = 'secret' | 'store' | 'generateId' | 'clock' | 'serializer' | 'schema' | 'migrate'
/** Checked options, with what follows from them. */
export interface CheckedOptions extends Omit<Checked, Replaced> {
  store: StorePlugin | StoreByName
  secrets: ReadonlyArray<Secret> | null
  generateId: () => string
  clock: Clock
  codec: Codec
  schema: DataSchema | null
}

/**
 * @param label how errors name the session
 * @throws FST_SESSIONS_OPTION
 */
export function checkSessionOptions (received: unknown, label = 'session'): CheckedOptions {
  if (isUnsetSecret(received)) {
    throw new OptionError(`${label} option secret was given, but is undefined; is an environment variable missing? ` +
      'Leave the option out for ids without a signature')
  }
  const { secret, serializer, schema, migrate, ...options } = checkOptions(sessionSchema, received, label)
  if (options.encryption && secret === undefined && options.sessions === undefined) {
    throw new OptionError(`${label} option encryption needs the option secret`)
  }
  if (migrate !== undefined && schema === undefined) {
    throw new OptionError(`${label} option migrate needs the option schema`)
  }
  const generateId = options.generateId === undefined
    ? randomIds(options.idBytes)
    : checkedIds(options.generateId)
  const [first, second] = [generateId(), generateId()]
  if (first === second) throw new OptionError(`${label} option generateId returned the same id twice`)
  return Object.freeze({
    ...options,
    store: options.store ?? { type: 'memory' },
    secrets: secret === undefined ? null : [secret].flat(),
    generateId,
    clock: options.clock ?? systemClock,
    codec: codecOf(serializer),
    schema: dataSchema(schema, migrate)
  })
}

/** One instance without the secret would reject the cookies of all others, and overwrite them. */
function isUnsetSecret (received: unknown): boolean {
  return typeof received === 'object' && received !== null && 'secret' in received && received.secret === undefined
}

function isSessions (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const sessions: unknown[] = Object.values(value)
  return sessions.length > 0 && sessions.every(session => typeof session === 'object' && session !== null)
}

function isStore (value: unknown): boolean {
  if (isStorePlugin(value)) return true
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

function isSecrets (value: unknown): boolean {
  const secrets = [value].flat()
  return secrets.length > 0 && secrets.every(secret => {
    if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) return false
    return Buffer.byteLength(secret) >= MIN_SECRET_BYTES
  })
}

function isSerializer (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { name, serialize, deserialize } = value as Partial<Serializer>
  return typeof name === 'string' && /^[\w.-]{1,40}$/.test(name) && isFunction(serialize) && isFunction(deserialize)
}

function isFunction (value: unknown): boolean {
  return typeof value === 'function'
}

function isClock (value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'now' in value && isFunction(value.now)
}
