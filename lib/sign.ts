import { createHmac, createSecretKey, hkdfSync, timingSafeEqual } from 'node:crypto'

export interface Signer {
  sign (id: string): string
  /** The position of the secret that made the signature, or -1. */
  verify (id: string, signature: string): number
}

/**
 * Signs ids with HMAC-SHA256. The first secret signs, all of them verify. Keys are derived with HKDF (RFC
 * 5869) per session name, so that the value of one cookie is nothing in another.
 */
export function createSigner (secrets: ReadonlyArray<string | Uint8Array>, sessionName: string): Signer {
  const keys = secrets.map(secret => {
    const purpose = `fastify-sessions:sign:1:${sessionName}`
    return createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', purpose, 32)))
  })
  const mac = (position: number, id: string) => createHmac('sha256', keys[position]).update(id).digest()

  return {
    sign: id => mac(0, id).toString('base64url'),
    verify (id, signature) {
      const presented = Buffer.from(signature, 'base64url')
      // Base64url has several spellings of the same bytes: only ours counts.
      if (presented.length !== 32 || presented.toString('base64url') !== signature) return -1
      return keys.findIndex((_, position) => timingSafeEqual(mac(position, id), presented))
    }
  }
}
