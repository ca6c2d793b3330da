import type { LightMyRequestResponse } from 'fastify'
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { test } from 'tap'
import { checkedIds, isId, randomIds, sha256, uniqueVersions } from '../lib/base/id.js'
import type { SessionOptions } from '../lib/index.js'
import { createSigner, hmac } from '../lib/records/sign.js'
import { TestClock } from '../lib/testing/clock.js'
import type { SessionBackend } from '../types/store.js'
import { startApp } from './helpers/app.js'
import { counting, memoryBackend } from './helpers/backends.js'
import { cookieOf, setCookies, startStage, watch } from './helpers/stage.js'
import type { Script } from './helpers/stage.js'

const secret = 'a secret of at least 32 bytes, for tests'
const NAME = '__Host-session'

const read: Script = session => session.data()
const count: Script = session => session.update('visits', (n = 0) => n + 1)

const newId = randomIds(32)
const value = (cookie: string) => cookie.slice(cookie.indexOf('=') + 1)
const idIn = (cookie: string) => value(cookie).split('.')[0]

async function startCounted (t: Parameters<typeof startStage>[0], options: SessionOptions = {}) {
  const clock = new TestClock()
  const backend = counting(await memoryBackend(clock))
  const stage = await startStage(t, { store: { type: 'custom', backend }, clock, ...options })
  return { ...stage, backend, clock }
}

test('I1 an id has 256 bits, or as many as configured, but never fewer than 128', async t => {
  const { visit } = await startStage(t, {})
  t.equal(Buffer.from(value(cookieOf(await visit('', count))), 'base64url').length, 32)

  const shortest = await startStage(t, { idBytes: 16 })
  t.equal(Buffer.from(value(cookieOf(await shortest.visit('', count))), 'base64url').length, 16)

  await t.rejects(startStage(t, { idBytes: 15 }), {
    code: 'FST_SESSIONS_OPTION',
    message: 'session option idBytes must be a whole number of at least 16 and of at most 64, received 15'
  })
})

test('I1 all bytes of an id come from the CSPRNG of the system', t => {
  const { randomFillSync } = crypto
  t.teardown(() => {
    crypto.randomFillSync = randomFillSync
    syncBuiltinESMExports()
  })
  let fill = 0
  crypto.randomFillSync = ((pool: Buffer) => pool.fill(++fill)) as typeof randomFillSync
  syncBuiltinESMExports()

  const id = randomIds(32)
  for (let i = 0; i < 64; i++) t.equal(id(), Buffer.alloc(32, 1).toString('base64url'))
  t.equal(id(), Buffer.alloc(32, 2).toString('base64url'), 'used bytes are never used again')
  t.end()
})

test('S5 a version never comes back, in this process or in another', t => {
  const versions = new Set<string>()
  const makers = [uniqueVersions(), uniqueVersions()]
  for (let i = 0; i < 10_000; i++) for (const next of makers) versions.add(next())
  t.equal(versions.size, 20_000)
  t.end()
})

test('I2 a million ids, of one length and one alphabet, without a duplicate', t => {
  const ids = new Set<string>()
  let malformed = 0
  for (let i = 0; i < 1_000_000; i++) {
    const id = newId()
    if (!/^[A-Za-z0-9_-]{43}$/.test(id)) malformed++
    ids.add(id)
  }
  t.equal(ids.size, 1_000_000)
  t.equal(malformed, 0)
  t.end()
})

test('I3 an own generateId must return ids', async t => {
  const text = 'abcdefghijklmnopqrstuvwxyz'
  const bad = [
    text.slice(0, 21), '', text.repeat(5), `${text};`, `${text} `, `${text}=`, `${text}\r\n`,
    `${text}.${text}`, `${text}ä`, 12345678901234567890123n, null, undefined, [text], Promise.resolve(text)
  ]
  for (const returned of bad) {
    await t.rejects(startApp(t, { generateId: () => returned as string }, () => {}), {
      code: 'FST_SESSIONS_ID', message: 'generateId must return 22 to 128 characters of A-Z a-z 0-9 _ -'
    }, inspect(returned))
  }
  await t.rejects(startApp(t, { generateId: () => text }, () => {}), {
    code: 'FST_SESSIONS_OPTION', message: 'session option generateId returned the same id twice'
  })
  t.equal(checkedIds(() => text)(), text)
  t.ok(isId('A'.repeat(22)) && isId('A'.repeat(128)))
  t.notOk(isId('A'.repeat(21)) || isId('A'.repeat(129)))
})

test('I3 a generateId that goes wrong later is an error, and nothing is stored', async t => {
  let returned: () => string = newId
  const { visit, backend } = await startCounted(t, { generateId: () => returned() })
  returned = () => 'too short'
  const response = await visit('', count)
  t.equal(response.statusCode, 500)
  t.equal(response.json().code, 'FST_SESSIONS_ID')
  t.notMatch(response.payload, 'too short')
  t.same(setCookies(response), [])
  t.same(backend.calls, [])
})

test('I3 an id that is taken is rolled again, and the session that has it is left alone', async t => {
  const [first, second] = [newId(), newId()]
  let rolls: string[] = []
  const { visit, backend } = await startCounted(t, { generateId: () => rolls.shift() ?? newId() })

  rolls = [first]
  t.equal(cookieOf(await visit('', count)), `${NAME}=${first}`)
  rolls = [first, first, first, first, second]
  backend.calls.length = 0
  t.equal(cookieOf(await visit('', session => session.set('visits', 10))), `${NAME}=${second}`)
  t.same(backend.calls, Array(5).fill('create'))

  rolls = [first, first, first, first, first, first]
  const response = await visit('', session => session.set('visits', 20))
  t.equal(response.statusCode, 500)
  t.match(response.json(), {
    code: 'FST_SESSIONS_ID', message: 'generateId returned 5 ids in a row that are taken'
  })
  t.same(setCookies(response), [])
  t.same(rolls, [first], 'it gives up')

  t.same((await visit(`${NAME}=${first}`, read)).json(), { visits: 1 })
  t.same((await visit(`${NAME}=${second}`, read)).json(), { visits: 10 })
})

test('I4 an id made up by the client is not adopted', async t => {
  const signer = createSigner([secret], 'session')
  for (const options of [{}, { secret }]) {
    const { visit, backend } = await startCounted(t, options)
    const madeUp = newId()
    const presented = `${NAME}=${'secret' in options ? `${madeUp}.${signer.sign(madeUp)}` : madeUp}`

    const looked = await visit(presented, read)
    t.same(looked.json(), {})
    t.same(setCookies(looked), [], 'nor is the cookie of somebody else touched')

    for (const script of [count, (session => session.login('ada')) as Script]) {
      const written = cookieOf(await visit(presented, script))
      t.not(idIn(written), madeUp)
      t.not((await visit(written, session => session.isNew)).json(), true)
      t.equal(await backend.read(sha256(madeUp)), null)
    }
    t.same((await visit(presented, read)).json(), {}, 'it stays absent')
  }
})

test('I5 an id that is expired, destroyed, rotated or badly signed is not adopted', async t => {
  type End = (stage: Awaited<ReturnType<typeof startCounted>>, cookie: string) => unknown
  const ends: Record<string, End> = {
    async expired ({ clock }) { clock.advance(1800) },
    destroyed: ({ visit }, cookie) => visit(cookie, session => session.destroy()),
    rotated: ({ visit }, cookie) => visit(cookie, session => session.regenerate()),
    'badly signed': (_stage, cookie) => cookie.replace(/.$/, last => last === 'A' ? 'Q' : 'A')
  }
  for (const [how, end] of Object.entries(ends)) {
    const stage = await startCounted(t, { secret })
    const { visit, backend } = stage
    const cookie = cookieOf(await visit('', count))
    t.same((await visit(cookie, read)).json(), { visits: 1 }, `${how}: alive before`)
    const altered = await end(stage, cookie)
    const presented = typeof altered === 'string' ? altered : cookie

    const before = await backend.read(sha256(idIn(cookie)))
    const response = await visit(presented, count)
    t.equal(response.json(), 1, `${how}: anonymous`)
    t.not(idIn(cookieOf(response)), idIn(cookie), `${how}: a new id`)
    t.same(await backend.read(sha256(idIn(cookie))), before, `${how}: what it named is as it was`)
  }
})

const malformed: Record<string, string> = {
  empty: '',
  short: 'a'.repeat(21),
  long: 'a'.repeat(129),
  'ten kilobytes': 'a'.repeat(10_240),
  'a NUL': `${'a'.repeat(42)}\0`,
  'an escaped NUL': `${'a'.repeat(40)}%00`,
  'a path': '../../../../../../etc/passwd/../etc/passwd',
  'a line break': `${'a'.repeat(43)}\r\nSet-Cookie: x=y`,
  __proto__: '__proto__.__proto__.__proto__',
  'a quoted id': `"${'a'.repeat(43)}"`,
  'one quote': `"${'a'.repeat(43)}`,
  'standard base64': '+/+/'.repeat(11),
  padding: `${'a'.repeat(43)}=`,
  'not ASCII': 'ä'.repeat(43),
  'a glob': '*'.repeat(43),
  JSON: '{"$ne":null,"toString":"constructor"}',
  'two dots': `${'a'.repeat(43)}.${'a'.repeat(43)}.`,
  'only dots': '.'.repeat(43),
  'an empty signature': `${'a'.repeat(43)}.`,
  'a signature alone': `.${'a'.repeat(43)}`,
  'half a surrogate': '\ud800'.repeat(43),
  spaces: `${'a'.repeat(20)} ${'a'.repeat(22)}`
}

function assertUnreflected (response: LightMyRequestResponse, cookie: string): void {
  const answer = JSON.stringify(response.headers) + response.payload
  for (const piece of cookie.split(/[;=]/)) {
    if (piece.length > 7 && answer.includes(piece)) throw new Error('the cookie is reflected')
  }
}

test('I6 a malformed cookie is no cookie', async t => {
  for (const options of [{}, { secret }]) {
    const { visit, backend } = await startCounted(t, options)
    for (const [what, garbage] of Object.entries(malformed)) {
      const cookie = `${NAME}=${garbage}`
      const looked = await visit(cookie, read)
      t.equal(looked.statusCode, 200, what)
      t.same(looked.json(), {}, what)
      t.same(setCookies(looked), [], what)
      assertUnreflected(looked, garbage)
      t.same(backend.calls.splice(0), [], `${what}: the store is not asked`)

      const written = await visit(cookie, count)
      t.ok(isId(idIn(cookieOf(written))), what)
      t.same(backend.calls.splice(0), ['create'], what)
    }
  }
})

test('I6 ten thousand malformed cookies: no 500, no store call, nothing reflected', async t => {
  const base64url = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
  const idLike = (constraints: fc.StringConstraints) =>
    fc.string({ unit: fc.constantFrom(...base64url), ...constraints })
  const id = idLike({ minLength: 43, maxLength: 43 })
  const garbage = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ maxLength: 60 }),
    idLike({ maxLength: 21 }),
    idLike({ minLength: 129, maxLength: 150 }),
    fc.constantFrom(...Object.values(malformed)),
    fc.tuple(id, fc.constantFrom(...'%"\\,/+= \0\t\r\n~.ÿ'), id).map(parts => parts.join('')),
    fc.tuple(id, fc.string({ unit: 'binary', maxLength: 60 })).map(parts => parts.join('..'))
  )
  const one = garbage.map(it => `${NAME}=${it}`)
  const header = fc.oneof(
    { weight: 8, arbitrary: one },
    { weight: 2, arbitrary: fc.array(one, { maxLength: 6 }).map(all => all.join('; ')) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 100 }) }
  )
  for (const options of [{}, { secret }]) {
    const backend = counting(await memoryBackend())
    const lines: string[] = []
    const logger = { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } }
    const app = await startApp(t, { ...options, store: { type: 'custom', backend } }, app => {
      app.get('/', { logLevel: 'warn' }, async request => (await request.session.load()).data())
    }, { logger })
    await fc.assert(fc.asyncProperty(header, async cookie => {
      const response = await app.inject({ url: '/', headers: { cookie } })
      if (response.statusCode !== 200 || response.payload !== '{}') throw new Error('not anonymous')
      if (response.headers['set-cookie'] !== undefined) throw new Error('a cookie was set')
      if (backend.calls.length > 0) throw new Error('the store was called')
      if (lines.length > 0) throw new Error('something was logged')
      assertUnreflected(response, cookie)
    }), { seed: 20240517, numRuns: 5000 })
  }
})

test('I6 bytes that are no text, through a real socket', async t => {
  const backend = counting(await memoryBackend())
  const { app, visit } = await startStage(t, { store: { type: 'custom', backend } })
  await visit('', read)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const statuses: number[] = []
  for (const bytes of [[0xff, 0xfe], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0x00], [0x09], [0x7f]]) {
    const socket = connect(port, '127.0.0.1')
    const [before, after] = [
      `POST /0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: ${NAME}=${'a'.repeat(22)}`,
      `${'a'.repeat(22)}\r\nContent-Length: 0\r\n\r\n`
    ]
    socket.write(Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]))
    const answer = await text(socket)
    statuses.push(Number(answer.slice(9, 12)))
    t.notMatch(answer, 'a'.repeat(22))
  }
  t.same(statuses, [200, 200, 200, 400, 200, 400])
  t.same(backend.calls, [])
})

test('I7 only the cookie carries an id', async t => {
  const { visit, backend } = await startCounted(t)
  const cookie = cookieOf(await visit('', count))
  const token = value(cookie)
  backend.calls.length = 0
  const response = await visit('', read, {
    query: { session: token, [NAME]: token, sid: token, id: token },
    payload: { session: token, [NAME]: token, sessionId: token },
    headers: {
      [NAME]: token, session: token, 'x-session-id': token, authorization: `Bearer ${token}`, cookie2: cookie
    }
  })
  t.same(response.json(), {})
  t.same(backend.calls, [])
})

test('I7 a route that opted out does not look at the cookie', async t => {
  const backend = counting(await memoryBackend())
  const events = watch(t, 'rejected')
  const app = await startApp(t, { store: { type: 'custom', backend } }, app => {
    const config = { session: false as const }
    app.get('/', { config }, async request => (await request.session.load()).data())
  })
  for (const token of [newId(), 'junk']) {
    const response = await app.inject({ url: '/', headers: { cookie: `${NAME}=${token}` } })
    t.same(response.json(), {})
    t.same(setCookies(response), [])
  }
  t.same(backend.calls, [])
  t.same(events, [])
})

test('I8 of several cookies of the name the first four are tried', async t => {
  const { visit, backend } = await startCounted(t)
  const valid = cookieOf(await visit('', count))
  const stray = () => `${NAME}=${newId()}`
  const junk = `${NAME}=junk`

  backend.calls.length = 0
  t.same((await visit([junk, stray(), stray(), valid].join('; '), read)).json(), { visits: 1 })
  t.same(backend.calls.splice(0), ['read', 'read', 'read'])

  const five = [junk, stray(), stray(), stray(), valid].join('; ')
  t.same((await visit(five, read)).json(), {}, 'not the fifth')
  t.same(backend.calls.splice(0), ['read', 'read', 'read'])

  const other = cookieOf(await visit('', session => session.set('visits', 5)))
  backend.calls.length = 0
  const both = [other, valid].join('; ')
  t.same((await visit(both, read)).json(), { visits: 5 }, 'the first that is valid counts')
  t.same(backend.calls.splice(0), ['read'])

  const response = await visit([stray(), valid].join('; '), count)
  t.equal(response.json(), 2, 'a write goes to the one that was found')
  t.same(setCookies(response), [])
})

test('I9 the store sees the SHA-256 of the id, and that is no id', async t => {
  const seen: unknown[] = []
  const memory = await memoryBackend()
  const backend = new Proxy(memory, {
    get (target, verb: keyof SessionBackend) {
      const call = target[verb] as (...args: unknown[]) => unknown
      return call && ((...args: unknown[]) => {
        seen.push([verb, ...args])
        return call.apply(target, args)
      })
    }
  })
  for (const options of [{}, { secret }]) {
    const { visit } = await startStage(t, { ...options, store: { type: 'custom', backend } })
    seen.length = 0
    const first = cookieOf(await visit('', count))
    await visit(first, count)
    await visit(first, session => session.touch())
    const second = cookieOf(await visit(first, session => session.login('ada')))
    await visit(second, session => session.logout())

    const keys = seen.map(call => (call as string[])[1])
    t.same(new Set(keys), new Set([sha256(idIn(first)), sha256(idIn(second))]))
    const all = inspect(seen, { depth: null })
    for (const cookie of [first, second]) {
      t.notOk(all.includes(idIn(cookie)))
      if ('secret' in options) t.notOk(all.includes(value(cookie).split('.')[1]))
    }
    const verbs = new Set(seen.map(call => (call as string[])[0]))
    t.same(verbs, new Set(['create', 'read', 'update', 'touch', 'remove']))
  }

  const { visit } = await startStage(t, { store: { type: 'custom', backend } })
  const cookie = cookieOf(await visit('', count))
  t.same((await visit(`${NAME}=${sha256(idIn(cookie))}`, read)).json(), {}, 'a stored key opens nothing')
  const handle = (await visit(cookie, session => session.id)).payload
  t.equal(handle, sha256(idIn(cookie)), 'session.id is what the store sees')
  t.same((await visit(`${NAME}=${handle}`, read)).json(), {})
})

test('I10 signatures are compared in constant time', t => {
  const { timingSafeEqual } = crypto
  const compared: boolean[] = []
  t.teardown(() => {
    crypto.timingSafeEqual = timingSafeEqual
    syncBuiltinESMExports()
  })
  crypto.timingSafeEqual = (a, b) => {
    compared.push(timingSafeEqual(a, b))
    return compared.at(-1)!
  }
  syncBuiltinESMExports()
  const signer = createSigner([secret], 'session')
  const id = newId()
  const signature = signer.sign(id)
  t.equal(signer.verify(id, signature), 0)
  for (let position = 0; position < signature.length - 1; position++) {
    const other = signature[position] === 'A' ? 'B' : 'A'
    t.equal(signer.verify(id, signature.slice(0, position) + other + signature.slice(position + 1)), -1)
  }
  t.same(compared, [true, ...Array(42).fill(false)])
  t.end()
})

test('I10 the MAC is HMAC-SHA256', t => {
  const bytes = fc.uint8Array({ maxLength: 64 })
  fc.assert(fc.property(bytes, fc.string({ unit: 'binary', maxLength: 300 }), (key, message) => {
    return hmac(key)(message) === crypto.createHmac('sha256', key).update(message).digest('base64url')
  }), { seed: 20261121, numRuns: 2000 })
  // RFC 4231, 4.3
  t.equal(Buffer.from(hmac(Buffer.from('Jefe'))('what do ya want for nothing?'), 'base64url').toString('hex'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')
  t.end()
})

test('I10 a signature has one spelling', t => {
  const signer = createSigner([secret], 'session')
  const id = newId()
  const signature = signer.sign(id)
  const bytes = Buffer.from(signature, 'base64url')
  t.match(signature, /^[A-Za-z0-9_-]{43}$/)
  const last = signature.at(-1)!
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const sameBytes = signature.slice(0, -1) + alphabet[alphabet.indexOf(last) + 1]
  t.same(Buffer.from(sameBytes, 'base64url'), bytes)
  const spellings = [
    sameBytes, `${signature}=`, `${signature} `, `.${signature}`, bytes.toString('hex'), '',
    signature.slice(1), signature.slice(0, 22), signature + signature, bytes.toString('latin1')
  ]
  for (const spelling of spellings) t.equal(signer.verify(id, spelling), -1, inspect(spelling))
  t.end()
})

test('I11 a rejected id is an event that names the reason and a hash, never the id', async t => {
  const clock = new TestClock()
  const backend = await memoryBackend(new TestClock(0))
  const { visit } = await startStage(t, { store: { type: 'custom', backend }, clock, secret })
  const cookie = cookieOf(await visit('', count))
  const destroyed = cookieOf(await visit('', count))
  await visit(destroyed, session => session.destroy())
  const forged = `${NAME}=${idIn(cookie)}.${'A'.repeat(43)}`
  clock.advance(1800)

  const events = watch(t, 'rejected')
  for (const presented of [`${NAME}=../..`, forged, destroyed, cookie]) await visit(presented, read)
  t.same(events, [
    { event: 'rejected', session: 'session', reason: 'malformed', hash: sha256('../..') },
    { event: 'rejected', session: 'session', reason: 'signature', hash: sha256(idIn(cookie)) },
    { event: 'rejected', session: 'session', reason: 'unknown', hash: sha256(idIn(destroyed)) },
    { event: 'rejected', session: 'session', reason: 'expired', hash: sha256(idIn(cookie)) }
  ])
  const told = JSON.stringify(events)
  for (const secretPart of [cookie, destroyed].flatMap(it => value(it).split('.'))) {
    t.notOk(told.includes(secretPart))
  }
})
