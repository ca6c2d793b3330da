import type { SessionDraft, SessionRecord, StoredRecord } from '../../types/store.js'
import type { Clock } from '../base/clock.js'
import type { Timeouts } from '../base/lifetime.js'
import type { Codec, Content } from './codec.js'
import type { DataSchema } from './data-schema.js'
import type { Sealer } from './seal.js'
import { uniqueVersions } from '../base/id.js'
import { absoluteEnd } from '../base/lifetime.js'
import { TooLargeError } from '../errors.js'

export interface RecordSettings extends Timeouts {
  clock: Clock
  codec: Codec
  /** Null: any data. */
  schema: DataSchema | null
  /** Bytes that an encoded session may take. */
  maxSize: number
}

/** Turns sessions into what is stored, and back. */
export interface Records {
  /**
   * @param bound what the record belongs to, its key: a sealed one opens only with the same
   * @throws FST_SESSIONS_TOO_LARGE, FST_SESSIONS_SCHEMA
   */
  write (draft: SessionDraft, bound: string): StoredRecord
  /** The session, or why it is none. */
  read (stored: StoredRecord, bound: string): SessionRecord | 'corrupt' | 'expired'
}

const nextVersion = uniqueVersions()

/** @param sealer null: what is stored is not encrypted */
export function createRecords (settings: RecordSettings, sealer: Sealer | null): Records {
  const { clock, codec, schema, maxSize } = settings

  return {
    write (draft, bound) {
      schema?.assertFits(draft.data)
      const encoded = codec.encode(draft)
      const size = Buffer.byteLength(encoded)
      if (size > maxSize) throw new TooLargeError(size, maxSize)
      const value = sealer === null ? encoded : sealer.seal(Buffer.from(encoded as Uint8Array), bound)
      return { value, version: nextVersion(), expiresAt: draft.expiresAt }
    },

    read (stored, bound) {
      const content = decoded(stored.value, bound)
      if (content === null) return 'corrupt'
      const expiresAt = Math.min(stored.expiresAt, absoluteEnd(content, settings))
      if (clock.now() >= expiresAt) return 'expired'
      return Object.assign(content, { expiresAt, version: stored.version })
    }
  }

  function decoded (value: string | Uint8Array, bound: string): Content | null {
    const encoded = opened(value, bound)
    const content = encoded === null ? null : codec.decode(encoded)
    if (content === null || schema === null) return content
    const data = schema.fitted(content.data)
    return data === null ? null : { ...content, data }
  }

  /** Sealed or not is the configuration's to say, never the record's. */
  function opened (value: string | Uint8Array, bound: string): string | Uint8Array | null {
    if (sealer === null) return value
    return typeof value === 'string' ? null : sealer.open(value, bound)?.plain ?? null
  }
}
