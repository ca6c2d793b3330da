import type { SealedRecords, SessionDraft, StoredRecord, WrittenSession } from '../../types/store.js'
import type { Records } from './records.js'
import type { Sealer } from './seal.js'
import { sha256 } from '../base/id.js'
import { MAX_PAIR_BYTES, assertCookieFits } from '../cookie/cookie.js'

/** Before the encoded session stands when it expires, as a double of eight bytes. */
const EXPIRY_BYTES = 8

/**
 * Sessions as tokens. What is sealed is not compressed: the length of a compressed cookie would tell what
 * secret and foreign data in it have in common (CRIME, BREACH).
 *
 * @param records must not seal themselves
 * @param cookieName with the token it must fit into what browsers keep
 */
export function createSealedRecords (
  records: Records, sealer: Sealer, sessionName: string, cookieName: string
): SealedRecords {
  function seal (draft: SessionDraft): WrittenSession {
    const { value, expiresAt, version } = records.write(draft, '')
    const expiry = Buffer.alloc(EXPIRY_BYTES)
    expiry.writeDoubleBE(expiresAt)
    const token = tokenOf(Buffer.concat([expiry, Buffer.from(value as Uint8Array)]))
    assertCookieFits(sessionName, cookieName, token)
    return { token, version, handle: null }
  }

  return {
    seal,

    open (token) {
      const opened = unseal(token)
      if (opened === null) return { rejected: 'signature', hash: sha256(token) }
      const record = records.read(storedIn(opened.plain), '')
      if (typeof record === 'string') return { rejected: record, hash: sha256(token) }
      return { record, token: opened.isStale ? tokenOf(opened.plain) : token, handle: null }
    }
  }

  function tokenOf (plain: Uint8Array): string {
    return sealer.seal(plain, '').toString('base64url')
  }

  function unseal (token: string) {
    if (token.length > MAX_PAIR_BYTES) return null
    const sealed = Buffer.from(token, 'base64url')
    // Base64url has several spellings of the same bytes: only ours counts.
    return sealed.toString('base64url') === token ? sealer.open(sealed, '') : null
  }
}

function storedIn (plain: Buffer): StoredRecord {
  return {
    value: plain.subarray(EXPIRY_BYTES),
    version: '',
    expiresAt: plain.length < EXPIRY_BYTES ? 0 : plain.readDoubleBE()
  }
}
