import type { SessionDraft } from '../types/store.js'
import { ValueError } from './errors.js'

/** A session as text. `v` marks the format, so that it can change later. */
export function encode (draft: SessionDraft): string {
  const { createdAt, authenticatedAt, principal, rememberedUntil, boundTo, data } = draft
  // Few sessions are bound: the others do not carry the field.
  return JSON.stringify({
    v: 1, createdAt, authenticatedAt, principal, rememberedUntil, boundTo: boundTo ?? undefined, data
  })
}

/** Null: not something that `encode` made. */
export function decode (value: string | Uint8Array): Omit<SessionDraft, 'expiresAt'> | null {
  const record = parse(value)
  if (!isObject(record) || record.v !== 1 || !isObject(record.data)) return null
  const { createdAt, authenticatedAt, principal, rememberedUntil, boundTo = null, data } = record
  if (!Number.isFinite(createdAt)) return null
  if (authenticatedAt !== null && !Number.isFinite(authenticatedAt)) return null
  if (rememberedUntil !== null && !Number.isFinite(rememberedUntil)) return null
  if (principal !== null && typeof principal !== 'string') return null
  if (boundTo !== null && typeof boundTo !== 'string') return null
  return { createdAt, authenticatedAt, principal, rememberedUntil, boundTo, data } as Omit<SessionDraft, 'expiresAt'>
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
 *
 * @param path where the value stands, as the error names it
 * @throws FST_SESSIONS_VALUE
 */
export function assertCarriable (value: unknown, path: string, ancestors: object[] = []): void {
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
    assertCarriable(value.toJSON(), path, ancestors)
    return
  }
  if (ancestors.includes(value)) throw new ValueError(path, 'circular')
  ancestors.push(value)
  if (Array.isArray(value)) {
    value.forEach((item, index) => assertCarriable(item, `${path}[${index}]`, ancestors))
  } else {
    const kind = Object.prototype.toString.call(value).slice('[object '.length, -1)
    if (kind !== 'Object') throw new ValueError(path, `of the kind ${kind}`)
    for (const [key, item] of Object.entries(value)) assertCarriable(item, `${path}.${key}`, ancestors)
  }
  ancestors.pop()
}
