import type { SessionOptions } from '../lib/index.js'
import type { SessionBackend, StoredRecord } from '../types/store.js'
import type { Script } from './helpers/stage.js'
import { test } from 'tap'
import { jsonCodec } from '../lib/records/codec.js'
import { sha256 } from '../lib/base/id.js'
import { checkSessionOptions } from '../lib/config/session-options.js'
import { TestClock } from '../lib/testing/clock.js'
import { memoryStore } from '../stores/memory.js'
import { memoryBackend } from './helpers/backends.js'
import { httpStories } from './helpers/http-stories.js'
import { cookieOf, setCookies, startStage, watch } from './helpers/stage.js'

const secretOf = (name: string) => `${name} secret of at least 32 bytes, for tests`
const [secret, older] = ['a new', 'an old'].map(secretOf)

const read: Script = session => session.data()
const count: Script = session => session.update('visits', (n = 0) => n + 1)

httpStories({ test, name: 'memory', store: () => memoryStore(), cookie: 'signed', encryption: true })

type Teardown = Parameters<typeof startStage>[0]

/** Applications that share one backend, each with options of its own. */
async function shared () {
  const clock = new TestClock()
  const backend = await memoryBackend(clock)
  const open = (t: Teardown, options: SessionOptions = {}) => {
    return startStage(t, { store: { type: 'custom', backend }, secret, encryption: true, clock, ...options })
  }
  return { clock, backend, open }
}

/** The key under which the session of a cookie is stored. */
function keyOf (cookie: string): string {
  return sha256(cookie.slice(cookie.indexOf('=') + 1, cookie.indexOf('.')))
}

async function stored (backend: SessionBackend, cookie: string): Promise<StoredRecord> {
  const record = await backend.read(keyOf(cookie))
  if (record === null) throw new Error('nothing is stored')
  return record
}

/** Puts another value in the place of a session's. */
async function replace (
  backend: SessionBackend, cookie: string, value: string | Uint8Array, principal: string | null = null
): Promise<void> {
  const { expiresAt, version } = await stored(backend, cookie)
  const record = { value, expiresAt, version: `${version}2` }
  await backend.update(keyOf(cookie), record, { principal, createdAt: 0 }, version)
}

test('D3 encryption needs a secret', async t => {
  t.throws(() => checkSessionOptions({ encryption: true }), {
    code: 'FST_SESSIONS_OPTION', message: 'session option encryption needs the option secret'
  })
  t.throws(() => checkSessionOptions({ encryption: true }, "session 'auth'"), {
    message: "session 'auth' option encryption needs the option secret"
  })
  t.equal(checkSessionOptions({ encryption: true, secret }).encryption, true)
})

test('D3 of several sessions each may have a secret of its own', async t => {
  const { visit } = await startStage(t, {
    encryption: true, sessions: { auth: { fields: ['role'], secret }, shop: { fields: 'rest', secret: older } }
  })
  const response = await visit('', session => {
    session.set('role', 'guest')
    session.set('cart', ['tea'])
  })
  const cookies = setCookies(response).map(line => line.split(';')[0]).join('; ')
  t.strictSame((await visit(cookies, read)).json(), { role: 'guest', cart: ['tea'] })
})

test('D3 S19 the store holds bytes that show nothing; the user index stays plain', async t => {
  const { backend, open } = await shared()
  const { visit } = await open(t)
  const cookie = cookieOf(await visit('', async session => {
    await session.login('ada@example.com')
    session.set('word', 'confidential')
  }))
  t.strictSame((await visit(cookie, read)).json(), { word: 'confidential' })
  const { value } = await stored(backend, cookie)
  t.ok(value instanceof Uint8Array)
  for (const word of ['ada', 'word', 'confidential', 'createdAt', '"v":1']) t.notOk(Buffer.from(value).includes(word))
  const listed = []
  for await (const { key } of backend.keysOf!('ada@example.com')) listed.push(key)
  t.strictSame(listed, [keyOf(cookie)])
})

test('D3 U1 what is known of the client is sealed with the rest, and listed', async t => {
  const { backend, open } = await shared()
  const { app, visit } = await open(t, { metadata: true })
  const login = (agent: string) => visit('', session => session.login('ada'), { headers: { 'user-agent': agent } })
  const cookie = cookieOf(await login('Confidential/1.0'))
  const other = cookieOf(await login('Other/1.0'))
  t.notOk(Buffer.from((await stored(backend, cookie)).value).includes('Confidential'))
  const agents = async () => (await app.sessions.listByUser('ada')).map(({ userAgent }) => userAgent).sort()
  t.strictSame(await agents(), ['Confidential/1.0', 'Other/1.0'])
  await replace(backend, cookie, (await stored(backend, other)).value, 'ada')
  t.strictSame(await agents(), ['Other/1.0'], 'the record of another key counts for nothing')
})

test('D3 every write seals anew, also what is equal', async t => {
  const { backend, open } = await shared()
  const { visit } = await open(t)
  const cookie = cookieOf(await visit('', session => session.set('a', 1)))
  const values = new Set<string>()
  for (let i = 0; i < 10; i++) {
    await visit(cookie, session => session.set('a', 1 + i % 2))
    values.add(Buffer.from((await stored(backend, cookie)).value).toString('hex'))
  }
  t.equal(values.size, 10, 'as created, and nine writes')
})

test('D3 D4 what was not sealed for this key is corrupt: swapped, damaged, plain, of another session', async t => {
  const { backend, open } = await shared()
  const { visit } = await open(t)
  const other = await open(t, { name: 'other' })
  const strict = await open(t, { onCorrupt: 'throw' })
  const cookie = cookieOf(await visit('', count))
  const rich = cookieOf(await visit('', session => session.set('role', 'admin')))
  const foreign = cookieOf(await other.visit('', session => session.set('role', 'admin')))
  const [sound, swapped, another] = await Promise.all([cookie, rich, foreign].map(c => stored(backend, c)))
  const damaged = Buffer.from(sound.value as Uint8Array)
  damaged[30] ^= 1
  const plain = jsonCodec.encode({
    data: { role: 'admin' },
    createdAt: Date.now(),
    authenticatedAt: null,
    expiresAt: 0,
    principal: null,
    rememberedUntil: null,
    boundTo: null
  })
  const seen = watch(t, 'corrupt', 'rejected')
  const values = [
    swapped.value, another.value, damaged, plain, Buffer.from(plain), Buffer.alloc(0), '', damaged.toString('base64')
  ]
  for (const value of values) {
    await replace(backend, cookie, value)
    const response = await visit(cookie, read)
    t.strictSame([response.statusCode, response.json(), setCookies(response)], [200, {}, []])
    t.equal((await strict.visit(cookie, read)).json().code, 'FST_SESSIONS_CORRUPT')
  }
  t.strictSame(seen.map(({ event, hash }) => [event, hash]), [...values, ...values].map(() => ['corrupt', keyOf(cookie)]))

  const anew = cookieOf(await visit(cookie, count))
  t.not(anew, cookie, 'what is written then gets another id')
  t.strictSame((await stored(backend, cookie)).value, values.at(-1), 'and what is corrupt is left alone')
  await replace(backend, cookie, sound.value)
  t.strictSame((await visit(cookie, read)).json(), { visits: 1 })
})

test('D3 a sealed record is corrupt where encryption is off, a plain one where it is on', async t => {
  const { open } = await shared()
  const seen = watch(t, 'corrupt')
  const [on, off] = [await open(t), await open(t, { encryption: false })]
  const [sealed, plain] = [cookieOf(await on.visit('', count)), cookieOf(await off.visit('', count))]
  t.strictSame((await off.visit(sealed, read)).json(), {})
  t.strictSame((await on.visit(plain, read)).json(), {})
  t.equal(seen.length, 2)
  t.strictSame((await on.visit(sealed, read)).json(), { visits: 1 })
  t.strictSame((await off.visit(plain, read)).json(), { visits: 1 })
})

test('D3 K13 every secret opens, the next write seals under the first, a removed one opens nothing', async t => {
  const { backend, clock, open } = await shared()
  const [old, between, now] = [
    await open(t, { secret: older }), await open(t, { secret: [secret, older] }), await open(t)
  ]
  const first = cookieOf(await old.visit('', count))
  const sealed = (await stored(backend, first)).value

  const cookie = cookieOf(await between.visit(first, read))
  t.equal(keyOf(cookie), keyOf(first), 'the id is signed anew, and is the same')
  clock.advance(100)
  await between.visit(cookie, read)
  t.strictSame((await stored(backend, cookie)).value, sealed, 'reading and activity do not seal')
  t.strictSame((await now.visit(cookie, read)).json(), {})

  await between.visit(cookie, count)
  t.strictSame((await now.visit(cookie, read)).json(), { visits: 2 })
})

test('D7 maxSize is about the session, not its seal', async t => {
  const { open } = await shared()
  const plain = await open(t, { encryption: false, maxSize: 256 })
  const sealed = await open(t, { maxSize: 256 })
  for (const length of [100, 110, 120, 130, 140, 150, 160]) {
    const fill: Script = session => session.set('filler', 'x'.repeat(length))
    const [a, b] = [await plain.visit('', fill), await sealed.visit('', fill)]
    t.equal(a.statusCode, b.statusCode)
    if (a.statusCode !== 200) t.equal(a.body, b.body)
  }
})

test('R4 R5 conflicts are settled on sealed records, too', async t => {
  const { open } = await shared()
  const { visit } = await open(t)
  const cookie = cookieOf(await visit('', count))
  await Promise.all(Array.from({ length: 20 }, () => visit(cookie, count)))
  t.strictSame((await visit(cookie, read)).json(), { visits: 21 })
})
