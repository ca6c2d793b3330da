import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { test } from 'tap'
import { createSealer, extendedNonceCipher } from '../lib/records/seal.js'

const [first, second, third] = ['first', 'second', 'third'].map(word => `${word} secret of thirty-two bytes or more`)
const plain = Buffer.from('{"user":"ada"}')

test('D3 the cipher is XAES-256-GCM: the vectors of its specification', async t => {
  // https://github.com/C2SP/C2SP/blob/main/XAES-256-GCM.md: one key whose derived mask is reduced, and one not.
  for (const [byte, associated, expected] of [
    [1, '', 'ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271'],
    [3, 'c2sp.org/XAES-256-GCM', '986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d']
  ] as const) {
    const cipher = extendedNonceCipher(Buffer.alloc(32, byte))
    const nonce = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWX')
    const encrypted = Buffer.concat(cipher.encrypt(nonce, Buffer.from('XAES-256-GCM'), Buffer.from(associated)))
    t.equal(encrypted.toString('hex'), expected)
    t.equal(cipher.decrypt(nonce, encrypted, Buffer.from(associated))?.toString(), 'XAES-256-GCM')
    t.equal(cipher.decrypt(nonce, encrypted, Buffer.from('other')), null)
  }
})

test('D3 what was sealed opens, whatever its length, and shows nothing of itself', async t => {
  const sealer = createSealer([first], 'store', 'session')
  for (const length of [0, 1, 15, 16, 17, 100, 100_000]) {
    const content = Buffer.alloc(length, 'x')
    const sealed = sealer.seal(content, 'key')
    t.equal(sealed.length, length + 41)
    t.notOk(sealed.includes('xxxxx'))
    t.strictSame(sealer.open(sealed, 'key'), { plain: content, isStale: false })
    t.strictSame(sealer.open(new Uint8Array(sealed), 'key')?.plain, content, 'a plain Uint8Array is fine')
  }
})

test('D3 no two seals have the nonce or the text in common', async t => {
  const sealer = createSealer([first], 'store', 'session')
  const seals = Array.from({ length: 10_000 }, () => sealer.seal(plain, 'key'))
  t.equal(new Set(seals.map(sealed => sealed.toString('hex', 1, 25))).size, seals.length)
  t.equal(new Set(seals.map(sealed => sealed.toString('hex', 25, 41))).size, seals.length)
})

test('K12 a seal opens for its purpose, session and binding only', async t => {
  const sealed = createSealer([first], 'cookie', 'session').seal(plain, 'key')
  t.strictSame(createSealer([first], 'cookie', 'session').open(sealed, 'key')?.plain, plain)
  t.equal(createSealer([first], 'store', 'session').open(sealed, 'key'), null)
  t.equal(createSealer([first], 'cookie', 'other').open(sealed, 'key'), null)
  t.equal(createSealer([first], 'cookie', 'session').open(sealed, 'other'), null)
  t.equal(createSealer([first], 'cookie', 'session').open(sealed, ''), null)
  t.equal(createSealer([first], 'cookie', 'session:key').open(sealed, ''), null)
})

test('K12 purpose and session are authenticated, not only part of the key', async t => {
  const sealed = createSealer([first], 'cookie', 'session').seal(plain, 'key')
  const context = 'fastify-sessions:seal:1:cookie:session'
  const cipher = extendedNonceCipher(Buffer.from(hkdfSync('sha256', first, '', context, 32)))
  const open = (associated: string) => {
    return cipher.decrypt(sealed.subarray(1, 25), sealed.subarray(25), Buffer.from(associated))
  }
  t.strictSame(open(`${context}:key`), plain)
  for (const other of ['', 'key', ':key', context, `${context}:`]) t.equal(open(other), null)
})

test('K13 the first secret seals, all open; a removed one does not', async t => {
  const before = createSealer([first], 'cookie', 'session').seal(plain, '')
  const rotated = createSealer([second, third, first], 'cookie', 'session')
  t.strictSame(rotated.open(before, ''), { plain, isStale: true })
  const after = rotated.seal(plain, '')
  t.strictSame(rotated.open(after, ''), { plain, isStale: false })
  t.equal(createSealer([first], 'cookie', 'session').open(after, ''), null, 'sealed by the first')
  t.equal(createSealer([second, third], 'cookie', 'session').open(before, ''), null)
  t.strictSame(createSealer([Buffer.from(second)], 'cookie', 'session').open(after, '')?.plain, plain)
})

test('D3 what is damaged, cut off, longer or of another format is nothing, and does not throw', async t => {
  const sealer = createSealer([first, second], 'store', 'session')
  const sealed = sealer.seal(plain, 'key')
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const damaged = Buffer.from(sealed)
    damaged[bit >> 3] ^= 1 << (bit & 7)
    if (sealer.open(damaged, 'key') !== null) t.fail(`bit ${bit}`)
  }
  for (let length = 0; length < sealed.length; length++) {
    if (sealer.open(sealed.subarray(0, length), 'key') !== null) t.fail(`the first ${length} bytes`)
    if (sealer.open(sealed.subarray(sealed.length - length), 'key') !== null) t.fail(`the last ${length} bytes`)
  }
  t.equal(sealer.open(Buffer.concat([sealed, Buffer.of(0)]), 'key'), null)
  t.equal(sealer.open(Buffer.concat([Buffer.of(1), sealed]), 'key'), null)
  t.equal(sealer.open(randomBytes(200), 'key'), null)
})

test('D3 a tag that was cut short is not accepted', async t => {
  const key = Buffer.alloc(32, 1)
  const cipher = extendedNonceCipher(key)
  const nonce = Buffer.alloc(24, 2)
  const encrypted = Buffer.concat(cipher.encrypt(nonce, plain, Buffer.alloc(0)))
  t.equal(cipher.decrypt(nonce, encrypted.subarray(0, -4), Buffer.alloc(0)), null)
  const other = createCipheriv('aes-256-gcm', key, nonce.subarray(12))
  const ordinary = Buffer.concat([other.update(plain), other.final(), other.getAuthTag()])
  t.equal(cipher.decrypt(nonce, ordinary, Buffer.alloc(0)), null, 'nor AES-256-GCM under the key itself')
})
