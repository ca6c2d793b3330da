import { randomBytes } from 'node:crypto'

/** What each session holds: about a kilobyte as JSON. */
export interface Visit {
  count: number
  user: { id: number, name: string }
  cart: Array<{ sku: string, title: string, quantity: number, price: number }>
  note: string
}

const pool = Buffer.from(randomBytes(48_000).toString('base64'), 'latin1')
let made = 0

/** Data that share nothing with those of other sessions, strings included. */
export function visit (): Visit {
  const number = made++
  return {
    count: 0,
    user: { id: number, name: text(number, 20) },
    cart: Array.from({ length: 6 }, (_, i) => ({
      sku: text(number + i, 12), title: text(number * 7 + i, 40), quantity: 1 + i, price: 9.95
    })),
    note: text(number * 13, 300)
  }
}

function text (seed: number, length: number): string {
  const offset = (seed * 31) % (pool.length - length)
  return pool.toString('latin1', offset, offset + length)
}
