import { createCipheriv } from 'node:crypto'
import type { StorePlugin, StoreRegistration } from '../../lib/define-store.js'
import type { Prompt, SessionStore } from '../../types/store.js'
import type { FastifyInstance } from 'fastify'
import type { Script } from '../helpers/stage.js'
import cookiePlugin from '@fastify/cookie'
import Fastify from 'fastify'
import { test } from 'tap'
import sessions from '../../lib/index.js'
import { createSealer } from '../../lib/records/seal.js'
import { TestClock } from '../../lib/testing/clock.js'
import { cookieStore } from '../../stores/cookie.js'
import { setCookies, startStage } from '../helpers/stage.js'

const secretOf = (name: string) => `${name} secret of at least 32 bytes, for tests`
const secret = [secretOf('a new'), secretOf('an old')]
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const clock = new TestClock()

/** Numbers that look random and are the same in each run: a stream of AES-CTR. */
function seeded (seed: number) {
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16))
  let pool = Buffer.alloc(0)
  let offset = 0
  const bytes = (length: number) => {
    if (offset + length > pool.length) {
      pool = stream.update(Buffer.alloc(1 << 16))
      offset = 0
    }
    offset += length
    return pool.subarray(offset - length, offset)
  }
  const below = (limit: number) => bytes(4).readUInt32LE() % limit
  return { bytes, below, oneOf: <T>(values: readonly T[]): T => values[below(values.length)] }
}

interface Teardown { teardown (fn: () => unknown): void }

/** What an attacker has: cookies of this session, of others and of other keys, which are not valid here. */
interface Loot { valid: readonly string[], foreign: readonly string[] }
type Random = ReturnType<typeof seeded>
type Mutation = (random: Random, loot: Loot) => string

function onBytes (change: (bytes: Buffer, random: Random, loot: Loot) => Buffer): Mutation {
  return (random, loot) => {
    const bytes = Buffer.from(random.oneOf(loot.valid), 'base64url')
    return change(bytes, random, loot).toString('base64url')
  }
}

const onText = (change: (text: string, random: Random) => string): Mutation => (random, { valid }) => {
  return change(random.oneOf(valid), random)
}

const mutations: Record<string, Mutation> = {
  'one bit': onBytes((bytes, { below }) => {
    bytes[below(bytes.length)] ^= 1 << below(8)
    return bytes
  }),
  'some bits': onBytes((bytes, { below }) => {
    for (let i = below(20); i >= 0; i--) bytes[below(bytes.length)] ^= 1 << below(8)
    return bytes
  }),
  'the end cut off': onBytes((bytes, { below }) => bytes.subarray(0, below(bytes.length))),
  'the beginning cut off': onBytes((bytes, { below }) => bytes.subarray(1 + below(bytes.length - 1))),
  'a piece cut out': onBytes((bytes, { below }) => {
    const start = below(bytes.length)
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + 1 + below(20))])
  }),
  'made longer': onBytes((bytes, { below, bytes: noise }) => Buffer.concat([bytes, noise(1 + below(40))])),
  'with something before': onBytes((bytes, { below, bytes: noise }) => Buffer.concat([noise(1 + below(40)), bytes])),
  'with something in between': onBytes((bytes, { below, bytes: noise }) => {
    const start = below(bytes.length)
    return Buffer.concat([bytes.subarray(0, start), noise(1 + below(20)), bytes.subarray(start)])
  }),
  'another nonce': onBytes((bytes, { bytes: noise }) => {
    bytes.set(noise(24), 1)
    return bytes
  }),
  'another tag': onBytes((bytes, { bytes: noise }) => {
    bytes.set(noise(16), bytes.length - 16)
    return bytes
  }),
  'another format': onBytes((bytes, { below }) => {
    bytes[0] = below(256)
    return bytes
  }),
  'two halves of two': onBytes((bytes, { below, oneOf }, { valid, foreign }) => {
    const other = Buffer.from(oneOf(below(2) === 0 ? valid : foreign), 'base64url')
    const cut = below(bytes.length)
    return Buffer.concat([bytes.subarray(0, cut), other.subarray(cut)])
  }),
  'noise of the right shape': onBytes((bytes, { bytes: noise }) => {
    bytes.set(noise(bytes.length - 1), 1)
    return bytes
  }),
  'a letter replaced': onText((text, { below }) => {
    const at = below(text.length)
    return text.slice(0, at) + ALPHABET[below(64)] + text.slice(at + 1)
  }),
  'the last letter replaced': onText((text, { below }) => text.slice(0, -1) + ALPHABET[below(64)]),
  'a letter too many': onText((text, { below }) => {
    const at = below(text.length + 1)
    return text.slice(0, at) + String.fromCharCode(33 + below(94)) + text.slice(at)
  }),
  'a letter missing': onText((text, { below }) => {
    const at = below(text.length)
    return text.slice(0, at) + text.slice(at + 1)
  }),
  'two letters swapped': onText((text, { below }) => {
    const letters = [...text]
    const [a, b] = [below(text.length), below(text.length)]
    ;[letters[a], letters[b]] = [letters[b], letters[a]]
    return letters.join('')
  }),
  'another spelling': onText((text, { oneOf }) => oneOf([
    `${text}=`, `${text}==`, ` ${text}`, `${text} `, `${text}.`, `"${text}"`, `${text}\n`, `${text}\0`,
    text.replaceAll('-', '+'), text.replaceAll('_', '/'), encodeURIComponent(`${text}=`), text.toLowerCase()
  ])),
  'of another session, purpose or key': ({ oneOf }, { foreign }) => oneOf(foreign)
}

/** The sealed cookie store as the session plugin opens it. */
async function openCookieStore (t: Teardown, name: string, secret: string[]): Promise<Prompt<SessionStore>> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookiePlugin)
  let store: Prompt<SessionStore> | undefined
  const watched = Object.assign(async (fastify: FastifyInstance, registration: StoreRegistration) => {
    await cookieStore()(fastify, {
      ...registration,
      opened (type, opened) {
        if ('store' in opened) store = opened.store
        registration.opened(type, opened)
      }
    })
  }, { [Symbol.for('fastify-sessions.store')]: 'watched' }) as unknown as StorePlugin
  await app.register(sessions, { name, secret, store: watched, clock })
  return store!
}

async function steal (store: Prompt<SessionStore>, count: number): Promise<string[]> {
  const tokens: string[] = []
  for (let i = 0; i < count; i++) {
    const { token } = await store.create({
      data: { n: i, filler: 'x'.repeat(i % 50) },
      createdAt: clock.now(),
      authenticatedAt: null,
      expiresAt: clock.now() + 3600_000,
      principal: i % 2 === 0 ? 'ada' : null,
      rememberedUntil: null,
      boundTo: null
    })
    tokens.push(token)
  }
  return tokens
}

async function loot (t: Teardown): Promise<{ store: Prompt<SessionStore>, loot: Loot }> {
  const store = await openCookieStore(t, 'session', secret)
  const valid = await steal(store, 300)
  const others = [
    await openCookieStore(t, 'Session', secret),
    await openCookieStore(t, 'other', secret),
    await openCookieStore(t, 'session', [secretOf('a third')])
  ]
  const foreign = (await Promise.all(others.map(other => steal(other, 100)))).flat()
  const forRecords = createSealer(secret, 'store', 'session')
  const forCookies = createSealer(secret, 'cookie', 'session')
  for (let i = 0; i < 100; i++) {
    foreign.push(forRecords.seal(Buffer.from(`12345678{"v":1,"n":${i}}`), '').toString('base64url'))
    foreign.push(forCookies.seal(Buffer.from(`12345678{"v":1,"n":${i}}`), 'key').toString('base64url'))
  }
  return { store, loot: { valid, foreign } }
}

const kinds = Object.keys(mutations)

/** A cookie that is not one of the valid ones. */
function forge (random: Random, loot: Loot, valid: ReadonlySet<string>, kind: string): string {
  for (;;) {
    const forged = mutations[kind](random, loot)
    if (!valid.has(forged)) return forged
  }
}

test('K12 of a million forged cookies none is accepted, and none throws', { timeout: 240_000 }, async t => {
  const { store, loot: stolen } = await loot(t)
  const random = seeded(7)
  const valid = new Set(stolen.valid)
  const accepted = async () => {
    const results = await Promise.all(stolen.valid.map(token => store.load(token)))
    return results.filter(result => 'record' in result).length
  }
  t.equal(await accepted(), stolen.valid.length, 'what they are made of is accepted')
  const reasons = new Map<string, number>()
  for (let i = 0; i < 1_000_000; i++) {
    const kind = kinds[i % kinds.length]
    const forged = forge(random, stolen, valid, kind)
    const result = await store.load(forged)
    if ('record' in result) t.fail(`${kind} was accepted: ${forged}`)
    else reasons.set(result.rejected, (reasons.get(result.rejected) ?? 0) + 1)
  }
  t.strictSame([...reasons], [['signature', 1_000_000]], 'and all for the same reason')
  t.equal(await accepted(), stolen.valid.length, 'and still is')
})

test('I6 a few thousand forged cookies over HTTP: anonymous, no Set-Cookie', async t => {
  const { loot: stolen } = await loot(t)
  const { visit } = await startStage(t, { store: { type: 'cookie' }, secret, clock })
  const random = seeded(11)
  const valid = new Set(stolen.valid)
  const read: Script = session => {
    return { isNew: session.isNew, principal: session.principal, data: session.data() }
  }
  t.equal((await visit(`__Host-session=${stolen.valid[1]}`, read)).json().data.n, 1)
  for (let i = 0; i < 3000; i++) {
    const kind = kinds[i % kinds.length]
    const forged = forge(random, stolen, valid, kind)
    // What surrounds a value is not part of it: the browser's header would carry the valid cookie.
    if (valid.has(forged.trim())) continue
    const response = await visit(`__Host-session=${forged}`, read)
    const { statusCode, body } = response
    const isAnonymous = statusCode === 200 && body === '{"isNew":true,"principal":null,"data":{}}'
    if (!isAnonymous || setCookies(response).length > 0) t.fail(`${kind}: ${statusCode} ${body} for ${forged}`)
  }
})
