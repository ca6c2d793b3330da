import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, randomFillSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/** Encrypts and authenticates. The first secret seals, all of them open. */
export interface Sealer {
  /** @param bound what the sealed value belongs to; it opens only with the same */
  seal (plain: Uint8Array, bound: string): Buffer
  /** Null, for whatever reason: wrong key, purpose, session or binding, damaged, cut off, another format. */
  open (sealed: Uint8Array, bound: string): { plain: Buffer, isStale: boolean } | null
}

/** What is sealed: a value of one purpose is nothing for the other. */
export type SealPurpose = 'cookie' | 'store'

const FORMAT = 1
const NONCE_BYTES = 24
const TAG_BYTES = 16
const OVERHEAD = 1 + NONCE_BYTES + TAG_BYTES

/**
 * Format, nonce, ciphertext, tag. The nonce is random in each seal. Keys are derived with HKDF (RFC 5869) per
 * purpose and session name; both, the format and `bound` are authenticated as associated data as well.
 */
export function createSealer (
  secrets: ReadonlyArray<string | Uint8Array>, purpose: SealPurpose, sessionName: string
): Sealer {
  const context = `fastify-sessions:seal:${FORMAT}:${purpose}:${sessionName}`
  const ciphers = secrets.map(secret => extendedNonceCipher(Buffer.from(hkdfSync('sha256', secret, '', context, 32))))
  const associated = (bound: string) => Buffer.from(`${context}:${bound}`)

  return {
    seal (plain, bound) {
      const nonce = randomFillSync(Buffer.allocUnsafe(NONCE_BYTES))
      return Buffer.concat([Buffer.of(FORMAT), nonce, ...ciphers[0].encrypt(nonce, plain, associated(bound))])
    },

    open (sealed, bound) {
      if (sealed.length < OVERHEAD || sealed[0] !== FORMAT) return null
      const nonce = sealed.subarray(1, 1 + NONCE_BYTES)
      const encrypted = sealed.subarray(1 + NONCE_BYTES)
      for (const [position, cipher] of ciphers.entries()) {
        const plain = cipher.decrypt(nonce, encrypted, associated(bound))
        if (plain !== null) return { plain, isStale: position > 0 }
      }
      return null
    }
  }
}

/**
 * XAES-256-GCM (https://c2sp.org/XAES-256-GCM): AES-256-GCM under a key that is derived for each nonce. The
 * random nonce of plain AES-GCM allows 2^32 messages under one key (NIST SP 800-38D, 8.3), which a busy
 * application reaches; this one 2^80.
 *
 * @param secret 32 bytes
 */
export function extendedNonceCipher (secret: Uint8Array) {
  const key = createSecretKey(secret)
  const mask = doubled(blocks(key, Buffer.alloc(16)))

  function keyFor (nonce: Uint8Array): Buffer {
    const input = Buffer.alloc(32)
    for (const [index, start] of [0, 16].entries()) {
      input.set([0, index + 1, 0x58, 0], start)
      input.set(nonce.subarray(0, 12), start + 4)
    }
    for (let i = 0; i < input.length; i++) input[i] ^= mask[i % 16]
    return blocks(key, input)
  }

  return {
    /** @param nonce 24 bytes, never the same twice */
    encrypt (nonce: Uint8Array, plain: Uint8Array, associated: Uint8Array): [Buffer, Buffer, Buffer] {
      const cipher = createCipheriv('aes-256-gcm', keyFor(nonce), nonce.subarray(12), { authTagLength: TAG_BYTES })
      cipher.setAAD(associated)
      return [cipher.update(plain), cipher.final(), cipher.getAuthTag()]
    },

    decrypt (nonce: Uint8Array, encrypted: Uint8Array, associated: Uint8Array): Buffer | null {
      const tagStart = encrypted.length - TAG_BYTES
      const decipher = createDecipheriv('aes-256-gcm', keyFor(nonce), nonce.subarray(12), { authTagLength: TAG_BYTES })
      decipher.setAAD(associated)
      decipher.setAuthTag(encrypted.subarray(tagStart))
      const plain = decipher.update(encrypted.subarray(0, tagStart))
      try {
        return Buffer.concat([plain, decipher.final()])
      } catch {
        return null
      }
    }
  }
}

/** The block cipher itself: only ever on the few blocks that a key is derived from. */
function blocks (key: KeyObject, input: Uint8Array): Buffer {
  return createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(input)
}

/** Doubling in GF(2^128), as in CMAC (NIST SP 800-38B, 6.1). */
function doubled (block: Buffer): Buffer {
  const result = Buffer.from(block.map((byte, i) => byte << 1 | (block[i + 1] ?? 0) >> 7))
  if (block[0] >= 128) result[15] ^= 0x87
  return result
}
