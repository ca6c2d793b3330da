import { Type, Kind, OptionalKind } from '@sinclair/typebox'
import type { Static, TObject, TSchema, TUnsafe } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { OptionError } from '../errors.js'

/**
 * A field that holds a live value (a client, a key, a function). It is handed on as it is: never copied,
 * never frozen, never shown.
 */
export function Live<T> (
  expects: string, accepts: (value: unknown) => boolean, description: string
): TUnsafe<T> {
  return Type.Unsafe<T>(Type.Any({ live: true, accepts, expects, description }))
}

/** One of some texts. */
export function OneOf<const T extends string> (values: readonly T[], options: object): TUnsafe<T> {
  return Type.Unsafe<T>(Type.Union(values.map(value => Type.Literal(value)), options))
}

/**
 * Checks what a user configured: copies it, fills in the defaults, refuses what is wrong or unknown, and
 * freezes the copy. The caller's object stays as it is.
 *
 * @param label what the options belong to, as the error begins: 'session', 'redis store'
 * @throws FST_SESSIONS_OPTION, naming the field and what was received
 */
export function checkOptions<S extends TObject> (
  schema: S, received: unknown, label: string
): Readonly<Static<S>> {
  if (received !== undefined && !isPlainObject(received)) {
    throw new OptionError(`${label} options must be an object, received ${show(received)}`)
  }
  return checkObject(schema, received ?? {}, label, '') as Static<S>
}

/**
 * Refuses a client of the application beside options of a client that the store would make.
 *
 * @throws FST_SESSIONS_OPTION, naming the options
 */
export function refuseBeside (label: string, { client, ...own }: { client?: unknown }): void {
  const given = Object.keys(own)
  if (client === undefined || given.length === 0) return
  throw new OptionError(`${label} options client and ${given.join(' and ')} exclude each other; ` +
    'a client has its own')
}

/**
 * Refuses two options of which one is enough.
 *
 * @throws FST_SESSIONS_OPTION, naming the options
 */
export function refuseBoth<T extends object> (
  label: string, options: T, one: keyof T & string, other: keyof T & string
): void {
  if (options[one] === undefined || options[other] === undefined) return
  throw new OptionError(`${label} options ${one} and ${other} exclude each other`)
}

function checkObject (schema: TObject, received: Record<string, unknown>, label: string, path: string) {
  const checked: Record<string, unknown> = {}
  for (const name of Object.keys(received)) {
    if (!Object.hasOwn(schema.properties, name)) throw unknownOption(schema, name, label, path)
  }
  for (const [name, field] of Object.entries(schema.properties)) {
    const value = checkField(field, received[name], label, path + name)
    if (value !== undefined) checked[name] = value
  }
  return Object.freeze(checked)
}

function checkField (field: TSchema, received: unknown, label: string, path: string): unknown {
  if (received === undefined) {
    if (field[Kind] === 'Object' && !(OptionalKind in field)) {
      return checkObject(field as TObject, {}, label, path + '.')
    }
    if (field.default !== undefined || OptionalKind in field) return field.default
  } else if (field.live === true) {
    if (field.accepts(received) === true) return received
  } else if (field[Kind] === 'Object' && isPlainObject(received)) {
    return checkObject(field as TObject, received, label, path + '.')
  } else if (Value.Check(field, received)) {
    return deepFreeze(structuredClone(received))
  }
  throw new OptionError(`${label} option ${path} must be ${expected(field)}, received ${show(received, field)}`)
}

function unknownOption (schema: TObject, name: string, label: string, path: string) {
  const near = nearest(name, Object.keys(schema.properties))
  return new OptionError(`${label} option ${path}${name} is unknown` +
    (near === undefined ? '' : `; did you mean ${path}${near}?`))
}

/** What a field may hold, as a phrase. A schema that says it better does so in `expects`. */
function expected (field: TSchema): string {
  if (typeof field.expects === 'string') return field.expects
  if (Array.isArray(field.anyOf)) return listed(field.anyOf.map(expected))
  if (field.const !== undefined) return typeof field.const === 'string' ? `'${field.const}'` : String(field.const)
  switch (field.type) {
    case 'boolean': return 'true or false'
    case 'null': return 'null'
    case 'integer': return 'a whole number' + range(field)
    case 'number': return 'a number' + range(field)
    case 'string': return field.minLength > 0 ? 'a non-empty string' : 'a string'
    case 'array': return `an array whose items are each ${expected(field.items)}`
    default: return 'an object'
  }
}

function range ({ minimum, exclusiveMinimum, maximum }: TSchema): string {
  const bounds = []
  if (exclusiveMinimum !== undefined) bounds.push(`greater than ${exclusiveMinimum}`)
  if (minimum !== undefined) bounds.push(`of at least ${minimum}`)
  if (maximum !== undefined) bounds.push(`of at most ${maximum}`)
  return bounds.length === 0 ? '' : ' ' + bounds.join(' and ')
}

function listed (phrases: string[]): string {
  return phrases.slice(0, -1).join(', ') + ' or ' + phrases.at(-1)
}

/** What was received, as a phrase. A secret is told by its kind and length only. */
export function show (value: unknown, field?: TSchema): string {
  if (typeof value === 'string') {
    if (field?.sensitive === true || field?.live === true || value.includes('://')) return `a string of ${value.length} characters`
    return value.length > 60 ? `a string of ${value.length} characters` : `'${value}'`
  }
  if (value === undefined) return 'nothing'
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return `an array of ${value.length}`
  return /^[aeiou]/.test(typeof value) ? `an ${typeof value}` : `a ${typeof value}`
}

/** What is thrown where one of several sessions is asked for by a name that none has. */
export function noSuchSession (name: unknown): TypeError {
  return new TypeError(`there is no session ${show(name)}; see the option sessions`)
}

/** The name that differs by the fewest edits, when they are few enough for a slip of the hand. */
export function nearest (name: string, known: string[]): string | undefined {
  const ranked = known
    .map(candidate => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  return ranked.length > 0 && ranked[0].distance <= Math.max(2, name.length / 3)
    ? ranked[0].candidate
    : undefined
}

function editDistance (a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]
}

function isPlainObject (value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function deepFreeze<T> (value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze)
  return value
}
