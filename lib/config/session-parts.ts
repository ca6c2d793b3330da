import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import type { CookieOptions } from '../cookie/cookie-schema.js'
import type { StorePlugin } from '../define-store.js'
import type { Fields, OwnerOf } from '../session/fields.js'
import type { CheckedOptions, SessionFields } from './session-options.js'
import type { StoreByName } from './session-options.js'
import { Live, checkOptions, show } from '../base/options.js'
import { cookieName } from '../cookie/cookie.js'
import { OptionError } from '../errors.js'
import { settleFields } from '../session/fields.js'
import { checkSessionOptions } from './session-options.js'

/** What a session of several has beside the options of one. */
export const partSchema = Type.Object({
  fields: Live<Fields>("a list of names, { include, exclude }, '*' or 'rest'", isFields,
    "Which fields it owns: a list of names, `{ include, exclude }`, `'*'` or `'rest'`. Default `'rest'`."),
  bindTo: Type.Optional(Type.String({
    description: 'The name of another session: this one counts only beside the one that it was made for.'
  }))
}, { additionalProperties: false })

/** The options of one of several sessions. */
export interface PartOptions extends Omit<SessionFields, 'name' | 'clock' | 'sessions'> {
  store?: StorePlugin | StoreByName
  cookie?: Partial<CookieOptions>
  fields?: Fields
  bindTo?: string
}

/** The names that are listed as fields of a session, where they are literal. */
type Listed<S, N extends keyof S> = S[N] extends { fields: infer F }
  ? F extends readonly string[]
    ? F[number]
    : F extends { include: readonly string[], exclude: readonly string[] }
      ? Exclude<F['include'][number], F['exclude'][number]>
      : F extends { include: readonly string[] } ? F['include'][number] : never
  : never
/** Those of them that another session lists too. */
type Contested<S, N extends keyof S> = {
  [M in Exclude<keyof S, N>]: Listed<S, N> & Listed<S, M>
}[Exclude<keyof S, N>]

type OneOwner<S> = {
  [N in keyof S]: {
    fields?: [Contested<S, N>] extends [never] ? Fields : { 'two sessions own the field': Contested<S, N> }
    bindTo?: Exclude<keyof S, N>
  } & { [Unknown in Exclude<keyof S[N], keyof PartOptions>]: never }
}

/**
 * Returns what it is given. The compiler refuses two owners of a field and a `bindTo` that names no other
 * session, where the names are literal; what it cannot see is checked at boot.
 *
 * @example
 * app.register(sessions, { sessions: defineSessions({ auth: { fields: ['user'] }, rest: {} }) })
 */
export function defineSessions<const S extends Record<string, PartOptions>> (sessions: S & OneOwner<S>): S {
  return sessions
}

/** One session of those that a registration keeps. */
export interface PartSettings {
  readonly options: CheckedOptions
  /** How errors name the session. */
  readonly label: string
  /** As `StoreContext.namespace`. */
  readonly namespace: string
  /** The name of the session that this one belongs to. */
  readonly bindTo: string | undefined
}

export interface SessionParts {
  /** In the order of their names; only one, unless `sessions` was given. */
  readonly parts: readonly PartSettings[]
  readonly ownerOf: OwnerOf
}

type Received = Record<string, unknown>

/**
 * Settles how many sessions there are and who owns what. Options beside `sessions` are the defaults of each.
 *
 * @throws FST_SESSIONS_OPTION
 */
export function checkSessions (received: unknown): SessionParts {
  const options = checkSessionOptions(received)
  if (options.sessions === undefined) {
    return { parts: [{ options, label: 'session', namespace: '', bindTo: undefined }], ownerOf: () => options.name }
  }
  const { sessions, ...common } = received as Received
  if ('name' in common) throw new OptionError('session option name has no meaning beside sessions, whose keys are names')

  const fields: Record<string, Fields> = {}
  const own = options.sessions as Record<string, Received>
  const parts = Object.keys(own).sort().map(name => {
    const { part, settings } = checkPart(name, common, own[name])
    fields[name] = part.fields
    return settings
  })
  const ownerOf = settleFields(fields)
  assertCookiesDiffer(parts)
  parts.forEach(part => assertBindable(part, parts))
  return { parts, ownerOf }
}

function checkPart (name: string, common: Received, received: Received) {
  const label = `session '${name}'`
  const { fields = 'rest', bindTo, ...own } = received
  const part: Static<typeof partSchema> = checkOptions(partSchema, { fields, bindTo }, label)
  for (const option of ['name', 'clock', 'sessions']) {
    if (option in own) throw new OptionError(`${label} option ${option} is set beside sessions, for all of them`)
  }
  const cookie = { ...common.cookie as object, ...own.cookie as object }
  const options = checkSessionOptions({ ...common, ...own, cookie, name }, label)
  return { part, settings: { options, label, namespace: name, bindTo: part.bindTo } }
}

function assertCookiesDiffer (parts: readonly PartSettings[]): void {
  const owners = new Map<string, string>()
  for (const { options, label } of parts) {
    const name = cookieName(options.cookie, options.name, label)
    const other = owners.get(name)
    if (other !== undefined) {
      throw new OptionError(`the sessions '${other}' and '${options.name}' have the same cookie '${name}'; ` +
        'give each a cookie.name of its own')
    }
    owners.set(name, options.name)
  }
}

function assertBindable ({ options: { name }, bindTo }: PartSettings, parts: readonly PartSettings[]): void {
  if (bindTo === undefined) return
  const target = parts.find(part => part.options.name === bindTo)
  if (target === undefined || target.options.name === name || target.bindTo !== undefined) {
    throw new OptionError(`session '${name}' option bindTo must name another session that is not bound itself, ` +
      `received ${show(bindTo)}`)
  }
}

function isFields (value: unknown): boolean {
  if (value === '*' || value === 'rest' || isNames(value)) return true
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const entries = Object.entries(value)
  return entries.length > 0 && entries.every(([key, names]) => /^(include|exclude)$/.test(key) && isNames(names))
}

function isNames (value: unknown): boolean {
  return Array.isArray(value) && value.every(name => typeof name === 'string')
}
