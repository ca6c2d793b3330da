import type { Serializer, SerializerOf } from '../../types/serializer.js'
import type { ClientInfo, SessionDraft } from '../../types/store.js'
import { MAX_ITEMS, jsonCopy, jsonEqual } from '../base/json-copy.js'
import { ValueError } from '../errors.js'

/** What a stored value tells of a session. */
export type Content = Omit<SessionDraft, 'expiresAt'>

/** How data become what is stored, and come back: whole sessions, and single values to be compared. */
export interface Codec {
  encode (draft: SessionDraft): string | Uint8Array
  /** Null: not something that this codec can read. */
  decode (value: string | Uint8Array): Content | null
  /**
   * An object as it is now; a primitive when it is carried as one. Throws when the object cannot be carried.
   */
  freeze (value: object): unknown
  /** An object like the one that was frozen, sharing nothing with it. */
  thaw (frozen: Frozen): unknown
  /** Throws FST_SESSIONS_VALUE. `path` is where the value stands, as the error names it. */
  assertCarriable (value: unknown, path: string): void
}

/** An object as it was at some moment. */
export class Frozen<Form = unknown> {
  readonly form: Form
  readonly #areEqual: (a: Form, b: Form) => boolean

  constructor (form: Form, areEqual: (a: Form, b: Form) => boolean) {
    this.form = form
    this.#areEqual = areEqual
  }

  /** @param other made by the same codec */
  equals (other: Frozen<Form>): boolean {
    return this.#areEqual(this.form, other.form)
  }
}

/** `v` marks the format, so that it can change later. */
export const jsonCodec = {
  encode (draft) {
    return JSON.stringify(Object.assign(factsOf(draft), { data: draft.data }))
  },

  decode (value) {
    const record = parse(value)
    return isObject(record) ? contentOf(record, record.data) : null
  },

  freeze (value) {
    const copy = jsonCopy(value)
    // A Date is stored as text, and text is what it is compared with.
    return typeof copy === 'object' && copy !== null ? new Frozen(copy, jsonEqual) : copy
  },

  thaw: ({ form }) => jsonCopy(form),

  assertCarriable: (value, path) => assertJson(value, path)
} satisfies Codec

export function codecOf (serializer: Serializer | undefined): Codec {
  return serializer === undefined ? jsonCodec : customCodec(serializer as SerializerOf<string | Uint8Array>)
}

const NEWLINE = 0x0a

/**
 * A line of JSON that tells what is known of the session and which serializer made the data; then the data.
 * Records of the JSON codec, which have no second line, are read as well: a serializer can be introduced
 * later.
 */
function customCodec (serializer: SerializerOf<string | Uint8Array>): Codec {
  const { name } = serializer
  return {
    encode (draft) {
      const form = serializer.serialize(draft.data)
      const isText = typeof form === 'string'
      const head = JSON.stringify({ ...factsOf(draft), serializer: name, isText }) + '\n'
      return isText ? head + form : Buffer.concat([Buffer.from(head), form])
    },

    decode (value) {
      const bytes = Buffer.from(value as Uint8Array)
      const end = bytes.indexOf(NEWLINE)
      if (end < 0) return jsonCodec.decode(value)
      const head = parse(bytes.subarray(0, end))
      if (!isObject(head) || head.serializer !== name) return null
      const body = bytes.subarray(end + 1)
      try {
        return contentOf(head, serializer.deserialize(head.isText === true ? body.toString() : body))
      } catch {
        return null
      }
    },

    freeze: value => new Frozen(serializer.serialize(value), isSameForm),

    // A copy, for what is made of bytes may be a view of them.
    thaw: ({ form }) => serializer.deserialize(typeof form === 'string' ? form : Uint8Array.from(form as Uint8Array)),

    /** What the serializer throws is not handed on: it may quote the value. */
    assertCarriable (value, path) {
      if (value === undefined) return
      let form: unknown
      try {
        form = serializer.serialize(value)
        serializer.deserialize(form as string | Uint8Array)
      } catch {
        throw new ValueError(path, `not carried by the serializer ${name}`)
      }
      if (typeof form === 'string' || form instanceof Uint8Array) return
      throw new ValueError(path, `made by the serializer ${name} into neither text nor bytes`)
    }
  }
}

function isSameForm (a: string | Uint8Array, b: string | Uint8Array): boolean {
  return typeof a === 'string' || typeof b === 'string' ? a === b : Buffer.compare(a, b) === 0
}

/** What is known of a session beside its data. What it has not is not stored: reading is half of the cost. */
function factsOf (draft: SessionDraft) {
  const { createdAt, authenticatedAt, principal, rememberedUntil, client, renewal, boundTo } = draft
  return {
    v: 1,
    createdAt,
    authenticatedAt: authenticatedAt ?? undefined,
    principal: principal ?? undefined,
    rememberedUntil: rememberedUntil ?? undefined,
    client,
    renewal,
    boundTo: boundTo ?? undefined
  }
}

function contentOf (record: Record<string, unknown>, data: unknown): Content | null {
  const { v, createdAt, renewal } = record
  const { authenticatedAt = null, principal = null, rememberedUntil = null, boundTo = null } = record
  if (v !== 1 || !isObject(data) || !Number.isFinite(createdAt)) return null
  if (authenticatedAt !== null && !Number.isFinite(authenticatedAt)) return null
  if (rememberedUntil !== null && !Number.isFinite(rememberedUntil)) return null
  if (principal !== null && typeof principal !== 'string') return null
  if (boundTo !== null && typeof boundTo !== 'string') return null
  if (renewal !== undefined && !isRenewal(renewal)) return null
  return {
    createdAt,
    authenticatedAt,
    principal,
    rememberedUntil,
    client: clientOf(record.client),
    renewal,
    boundTo,
    data
  } as Content
}

function isRenewal (value: unknown): boolean {
  if (!isObject(value) || typeof value.current !== 'string' || typeof value.previous !== 'string') return false
  return Number.isFinite(value.at) && (value.until === null || Number.isFinite(value.until))
}

/** Only shown, never relied upon: what is not one is none. */
function clientOf (value: unknown): ClientInfo | undefined {
  if (!isObject(value)) return undefined
  const { ip, userAgent } = value
  return typeof ip === 'string' && typeof userAgent === 'string' ? { ip, userAgent } : undefined
}

function parse (value: string | Uint8Array): unknown {
  try {
    return JSON.parse(typeof value === 'string' ? value : Buffer.from(value).toString())
  } catch {
    return undefined
  }
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Refuses what JSON would drop, change or choke on. Objects with a `toJSON` of their own (a Date) are
 * carried as what it returns.
 */
function assertJson (value: unknown, path: string, ancestors: object[] = []): void {
  switch (typeof value) {
    case 'string': case 'boolean': case 'undefined': return
    case 'number':
      if (Number.isFinite(value)) return
      throw new ValueError(path, 'not a finite number')
    case 'object': break
    default: throw new ValueError(path, `a ${typeof value}`)
  }
  if (value === null) return
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    assertJson(value.toJSON(), path, ancestors)
    return
  }
  if (ancestors.includes(value)) throw new ValueError(path, 'circular')
  ancestors.push(value)
  if (Array.isArray(value)) {
    if (value.length > MAX_ITEMS) throw new ValueError(path, `an array of more than ${MAX_ITEMS} items`)
    value.forEach((item, index) => assertJson(item, `${path}[${index}]`, ancestors))
  } else {
    const kind = Object.prototype.toString.call(value).slice('[object '.length, -1)
    if (kind !== 'Object') throw new ValueError(path, `of the kind ${kind}`)
    for (const [key, item] of Object.entries(value)) assertJson(item, `${path}.${key}`, ancestors)
  }
  ancestors.pop()
}
