import { hash, randomBytes, randomFillSync } from 'node:crypto'
import { IdError } from '../errors.js'

/** What an id may look like, ours or a user's: 22 characters of base64url are 128 bits. */
const idShape = /^[A-Za-z0-9_-]{22,128}$/

export function isId (value: string): boolean {
  return idShape.test(value)
}

/** SHA-256 in base64url: how stores and diagnostics know a session. */
export function sha256 (value: string): string {
  return hash('sha256', value, 'base64url')
}

/**
 * What engines index in place of a principal, which may be any string of any length. Of its JSON, which keeps
 * apart what UTF-8 does not: lone surrogates.
 */
export function principalHash (principal: string): string {
  return hash('sha256', JSON.stringify(principal), 'hex')
}

/**
 * Makes ids from the system's CSPRNG (OWASP ASVS 7.2.3: at least 128 bits).
 *
 * @param bytes of entropy in each id
 */
export function randomIds (bytes: number): () => string {
  // One call into the CSPRNG serves many ids; used bytes are wiped.
  const pool = Buffer.allocUnsafe(bytes * 64)
  let offset = pool.length
  return () => {
    if (offset === pool.length) {
      randomFillSync(pool)
      offset = 0
    }
    const id = pool.toString('base64url', offset, offset + bytes)
    pool.fill(0, offset, offset + bytes)
    offset += bytes
    return id
  }
}

/**
 * Makes strings that are never made again, by nobody else either: nobody is kept from guessing them. What is
 * drawn once (72 bits) tells processes apart.
 */
export function uniqueVersions (): () => string {
  let mark: string | undefined
  let count = 0
  return () => {
    mark ??= randomBytes(9).toString('base64url')
    return mark + (count++).toString(36)
  }
}

/** Wraps a user's own generator, so that what it returns is an id or an error. */
export function checkedIds (generate: () => string): () => string {
  return () => {
    const id: unknown = generate()
    if (typeof id === 'string' && isId(id)) return id
    throw new IdError('must return 22 to 128 characters of A-Z a-z 0-9 _ -')
  }
}
