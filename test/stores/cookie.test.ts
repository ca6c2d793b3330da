import { hkdfSync } from 'node:crypto'
import type { Session } from '../../lib/index.js'
import type { Script } from '../helpers/stage.js'
import cookiePlugin from '@fastify/cookie'
import Fastify from 'fastify'
import { test } from 'tap'
import { jsonCodec } from '../../lib/records/codec.js'
import sessions from '../../lib/index.js'
import { createSealer } from '../../lib/records/seal.js'
import { createSigner } from '../../lib/records/sign.js'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { cookieStore } from '../../stores/cookie.js'
import { httpStories } from '../helpers/http-stories.js'
import { cookieOf, setCookies, startStage, watch } from '../helpers/stage.js'

const secretOf = (name: string) => `${name} secret of at least 32 bytes, for tests`
const [secret, older, oldest] = ['a new', 'an old', 'an older'].map(secretOf)
const store = { type: 'cookie' }

const read: Script = session => session.data()
const count: Script = session => session.update('visits', (n = 0) => n + 1)
const tokenOf = (cookie: string) => cookie.slice(cookie.indexOf('=') + 1)
const COOKIE = '__Host-session='

const start = (t: Parameters<typeof startStage>[0], options: Parameters<typeof startStage>[1] = {}) => {
  return startStage(t, { store, secret, ...options })
}

httpStories({ test, name: 'cookie', store: () => cookieStore(), cookie: 'sealed' })

test('F1 without a secret there is no sealed cookie', async t => {
  for (const given of [store, cookieStore()]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cookiePlugin)
    await t.rejects(async () => app.register(sessions, { store: given }), {
      code: 'FST_SESSIONS_OPTION', message: 'session option secret must be set: it seals the cookie'
    })
  }
  await t.rejects(openBackend(cookieStore()), { message: 'the store has no backend to open' })
})

test('F1 the whole session is in the cookie, which shows nothing of it', async t => {
  const clock = new TestClock(1_700_000_000_000)
  const { visit } = await start(t, { clock })
  const facts: Script = session => {
    const { id, sessionId, isNew, createdAt, authenticatedAt, expiresAt, principal } = session
    return { id, sessionId, isNew, createdAt, authenticatedAt, expiresAt, principal, data: session.data() }
  }
  const first = cookieOf(await visit('', async session => {
    await session.login('ada')
    session.set('list', [1, { word: 'confidential' }])
  }))
  t.match(first, /^__Host-session=[A-Za-z0-9_-]+$/)
  const bytes = Buffer.from(tokenOf(first), 'base64url')
  for (const word of ['ada', 'list', 'confidential', 'principal', '{']) {
    t.notOk(word.length > 1 && bytes.includes(word), `no ${word}`)
  }
  const now = clock.now()
  clock.advance(10)
  t.strictSame((await visit(first, facts)).json(), {
    id: null,
    sessionId: null,
    isNew: false,
    createdAt: now,
    authenticatedAt: now,
    expiresAt: now + 1800_000,
    principal: 'ada',
    data: { list: [1, { word: 'confidential' }] }
  })
  const { visit: elsewhere } = await start(t, { clock })
  t.equal((await elsewhere(first, facts)).json().principal, 'ada', 'on any server that has the secret')
})

test('D3 no two cookies are alike, even of equal sessions', async t => {
  const { visit } = await start(t, { clock: new TestClock() })
  const cookies = new Set<string>()
  for (let i = 0; i < 20; i++) cookies.add(cookieOf(await visit('', count)))
  t.equal(cookies.size, 20)
})

test('K8 L13 reading and setting an equal value set no cookie; a write does', async t => {
  const { visit } = await start(t)
  t.strictSame(setCookies(await visit('', read)), [])
  const first = cookieOf(await visit('', session => session.set('list', [1])))
  t.strictSame(setCookies(await visit(first, read)), [])
  t.strictSame(setCookies(await visit(first, session => session.set('list', [1]))), [])
  const second = cookieOf(await visit(first, session => (session.get('list') as number[]).push(2)))
  t.strictSame((await visit(second, read)).json(), { list: [1, 2] })
  t.strictSame((await visit(first, read)).json(), { list: [1] }, 'the store keeps nothing that it could compare with')
})

test('L10 activity seals the same session anew, at most once per touchInterval', async t => {
  const clock = new TestClock()
  const { visit } = await start(t, { clock, touchInterval: 60, absoluteTimeout: 3600 })
  const begun = clock.now()
  let cookie = cookieOf(await visit('', count))
  clock.advance(59.999)
  t.strictSame(setCookies(await visit(cookie, read)), [])
  clock.advance(0.001)
  cookie = cookieOf(await visit(cookie, read))
  t.strictSame(setCookies(await visit(cookie, read)), [])
  const ends: Script = ({ createdAt, expiresAt }) => ({ createdAt, expiresAt })
  t.strictSame((await visit(cookie, ends)).json(), { createdAt: begun, expiresAt: clock.now() + 1800_000 })
  t.strictSame((await visit(cookie, read)).json(), { visits: 1 })

  clock.advance(1799)
  cookie = cookieOf(await visit(cookie, read))
  clock.advance(1740)
  t.strictSame(setCookies(await visit(cookie, read)), [])
  t.equal((await visit(cookie, ends)).json().expiresAt, begun + 3600_000, 'never past the absolute end')
  t.equal(setCookies(await visit(cookie, session => session.touch())).length, 1, 'asked for, it is due')
})

test('L7 L8 idle and absolute timeout hold without a server, to the millisecond', async t => {
  const clock = new TestClock()
  const rejected = watch(t, 'rejected')
  const { visit } = await start(t, { clock, absoluteTimeout: 3600 })
  const first = cookieOf(await visit('', count))
  clock.advance(1799.999)
  t.strictSame((await visit(first, read)).json(), { visits: 1 })
  const second = cookieOf(await visit(first, count))
  clock.advance(0.001)
  t.strictSame((await visit(first, read)).json(), {}, 'idle')
  t.strictSame((await visit(second, read)).json(), { visits: 2 })
  clock.advance(1799.999)
  t.strictSame((await visit(second, read)).json(), {}, 'absolute')
  t.strictSame(rejected.map(({ reason }) => reason), ['expired', 'expired'])

  const { visit: stricter } = await start(t, { clock, absoluteTimeout: 60 })
  const third = cookieOf(await visit('', count))
  clock.advance(60)
  t.strictSame((await stricter(third, read)).json(), {}, 'the timeout of now counts, not that of the seal')
  t.strictSame((await visit(third, read)).json(), { visits: 1 })
})

test('L9 L11 without timeouts a session lasts; a remembered one has a persistent cookie and ends', async t => {
  const clock = new TestClock()
  const { visit } = await start(t, { clock, idleTimeout: null, absoluteTimeout: null })
  const lasting = cookieOf(await visit('', count))
  const [line] = setCookies(await visit('', session => {
    session.set('a', 1)
    return session.remember(1000)
  }))
  t.match(line, /; Max-Age=1000;/)
  const remembered = line.split(';')[0]
  clock.advance(999.999)
  t.strictSame((await visit(remembered, read)).json(), { a: 1 })
  clock.advance(0.001)
  t.strictSame((await visit(remembered, read)).json(), {})
  clock.advance(10 * 365 * 86400)
  t.strictSame((await visit(lasting, read)).json(), { visits: 1 })
})

test('L3 L4 L12 login, regenerate, logout and the last key: one Set-Cookie that says it all', async t => {
  const { visit } = await start(t)
  const anonymous = cookieOf(await visit('', session => {
    session.set('cart', ['tea'])
    session.set('draft', 1)
  }))
  const ada = cookieOf(await visit(anonymous, session => session.login('ada')))
  const who: Script = session => [session.principal, session.data()]
  t.strictSame((await visit(ada, who)).json(), ['ada', { cart: ['tea'], draft: 1 }])
  const kept = cookieOf(await visit(ada, session => session.regenerate(['cart'])))
  t.strictSame((await visit(kept, who)).json(), ['ada', { cart: ['tea'] }])

  const anew = cookieOf(await visit(kept, async session => {
    await session.destroy()
    session.set('fresh', true)
  }))
  t.strictSame((await visit(anew, who)).json(), [null, { fresh: true }])
  for (const end of [session => session.logout(), session => { session.delete('fresh') }] as Script[]) {
    const [line, ...others] = setCookies(await visit(anew, end))
    t.match(line, /^__Host-session=; Max-Age=0;/)
    t.strictSame(others, [])
  }
})

test('D8 a server error drops the changes, keeps what was sealed, and carries out logout and rotation', async t => {
  const clock = new TestClock()
  const { visit } = await start(t, { clock })
  const cookie = cookieOf(await visit('', count))
  const failing = (script: Script): Script => async (session, request, reply) => {
    await script(session, request, reply)
    reply.code(500)
  }
  clock.advance(100)
  t.strictSame(setCookies(await visit(cookie, failing(count))), [], 'not even touched with what failed')
  const touched = cookieOf(await visit(cookie, failing(read)))
  t.strictSame((await visit(touched, read)).json(), { visits: 1 })
  const rotated = cookieOf(await visit(cookie, failing(async (session, request, reply) => {
    await count(session, request, reply)
    await session.login('ada')
  })))
  const who: Script = session => [session.principal, session.data()]
  t.strictSame((await visit(rotated, who)).json(), [null, { visits: 1 }])
  const [gone] = setCookies(await visit(cookie, failing(session => session.logout())))
  t.match(gone, /^__Host-session=; Max-Age=0;/)
})

test('several commits of one request, side by side: the last cookie has it all', async t => {
  const { visit } = await start(t)
  const cookie = cookieOf(await visit('', count))
  const both = await visit(cookie, async session => {
    session.set('a', 1)
    const first = session.save()
    session.set('b', 2)
    const second = session.save()
    await Promise.all([first, second])
    session.set('c', 3)
    await session.reload()
    session.set('d', 4)
  })
  t.strictSame((await visit(cookieOf(both), read)).json(), { visits: 1, a: 1, b: 2, d: 4 })
})

test('K12 what was sealed or signed for another session, purpose or key is nothing', async t => {
  const rejected = watch(t, 'rejected')
  const { visit } = await start(t)
  const draft = {
    data: { role: 'admin' },
    createdAt: Date.now(),
    authenticatedAt: null,
    expiresAt: Date.now() + 60_000,
    principal: 'ada',
    rememberedUntil: null,
    boundTo: null
  }
  const expiry = Buffer.alloc(8)
  expiry.writeDoubleBE(draft.expiresAt)
  const plain = Buffer.concat([expiry, Buffer.from(jsonCodec.encode(draft))])
  const sealedBy = (...sealer: Parameters<typeof createSealer>) => {
    return createSealer(...sealer).seal(plain, '').toString('base64url')
  }
  const sound = sealedBy([secret], 'cookie', 'session')
  t.strictSame((await visit(COOKIE + sound, read)).json(), { role: 'admin' }, 'made like this it opens')
  const id = 'x'.repeat(43)
  const foreign = [
    sealedBy([secret], 'store', 'session'),
    sealedBy([secret], 'cookie', 'other'),
    sealedBy([older], 'cookie', 'session'),
    sealedBy([Buffer.from(hkdfSync('sha256', secret, '', 'x', 32))], 'cookie', 'session'),
    createSealer([secret], 'cookie', 'session').seal(plain, 'bound').toString('base64url'),
    id,
    `${id}.${createSigner([secret], 'session').sign(id)}`,
    plain.toString('base64url'),
    jsonCodec.encode(draft)
  ]
  for (const token of foreign) {
    const response = await visit(COOKIE + token, read)
    t.strictSame([response.statusCode, response.json(), setCookies(response)], [200, {}, []])
  }
  t.equal(rejected.length, foreign.length)
  t.ok(rejected.every(({ reason, hash }) => reason === 'signature' && /^[\w-]{43}$/.test(hash ?? '')))
})

test('K12 M4 values of two sealed sessions cannot be swapped', async t => {
  const rejected = watch(t, 'rejected')
  const { visit } = await startStage(t, {
    secret, sessions: { auth: { store, fields: ['role'] }, shop: { store, fields: 'rest' } }
  })
  const response = await visit('', session => {
    session.set('role', 'guest')
    session.set('cart', ['tea'])
  })
  const [auth, shop] = setCookies(response).map(line => line.split(';')[0])
  t.strictSame((await visit(`${auth}; ${shop}`, read)).json(), { role: 'guest', cart: ['tea'] })
  const swapped = `__Host-auth=${tokenOf(shop)}; __Host-shop=${tokenOf(auth)}`
  t.strictSame((await visit(swapped, read)).json(), {})
  t.strictSame(rejected.map(({ session, reason }) => `${session} ${reason}`).sort(), ['auth signature', 'shop signature'])
})

test('M11 no session can be bound to one that has no id', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookiePlugin)
  await t.rejects(async () => app.register(sessions, {
    secret,
    sessions: { auth: { store, fields: ['role'] }, form: { fields: 'rest', bindTo: 'auth' } }
  }), {
    code: 'FST_SESSIONS_OPTION',
    message: "session 'form' option bindTo names 'auth', which lives in its cookie and has no id to be bound to"
  })
})

test('K13 keys rotate without logging anyone out', async t => {
  const clock = new TestClock()
  const old = await start(t, { clock, secret: older })
  const between = await start(t, { clock, secret: [secret, older] })
  const now = await start(t, { clock, secret: [secret, oldest] })
  const cookie = cookieOf(await old.visit('', async session => {
    await session.login('ada')
    session.set('a', 1)
  }))
  const facts: Script = ({ principal, createdAt, authenticatedAt, data }) => {
    return [principal, createdAt, authenticatedAt, data()]
  }
  const before = (await old.visit(cookie, facts)).body
  clock.advance(1)

  t.strictSame((await now.visit(cookie, read)).json(), {}, 'a removed key opens nothing')
  const response = await between.visit(cookie, facts)
  t.equal(response.body, before)
  const reissued = cookieOf(response)
  t.strictSame((await old.visit(reissued, read)).json(), {}, 'sealed by the first')
  t.equal((await now.visit(reissued, facts)).body, before)
  t.strictSame(setCookies(await between.visit(reissued, read)), [], 'once')

  const written = cookieOf(await between.visit(cookie, session => session.set('b', 2)))
  t.strictSame((await now.visit(written, read)).json(), { a: 1, b: 2 })
  const rotated = cookieOf(await between.visit(cookie, session => session.regenerate()))
  t.equal((await now.visit(rotated, facts)).body, before)
  const failed = await between.visit(cookie, async (session, _request, reply) => {
    await session.regenerate()
    session.set('b', 2)
    reply.code(500)
  })
  t.equal((await now.visit(cookieOf(failed), facts)).body, before)
  const [gone] = setCookies(await between.visit(cookie, session => session.logout()))
  t.match(gone, /^__Host-session=; Max-Age=0;/)
})

test('K13 a cookie of an old key is found behind one that opens with none', async t => {
  const { visit } = await start(t, { secret: [secret, older] })
  const { visit: old } = await start(t, { secret: older })
  const cookie = cookieOf(await old('', count))
  t.strictSame((await visit(`${COOKIE}nothing; ${cookie}`, read)).json(), { visits: 1 })
})

/** A session whose cookie, name and value together, has so many bytes: a byte of data is 4/3 of them. */
async function largest (save: (filler: string) => Promise<number>): Promise<[fits: number, exceeds: number]> {
  let [fits, exceeds] = [0, 4096]
  while (exceeds - fits > 1) {
    const middle = (fits + exceeds) >> 1
    if (await save('x'.repeat(middle)) === 200) fits = middle
    else exceeds = middle
  }
  return [fits, exceeds]
}

test('K4 a cookie too large for browsers is an error with session and size; nothing is half done', async t => {
  const { visit } = await start(t, { name: 'cart', clock: new TestClock() })
  const cookie = cookieOf(await visit('', count))
  const fill = (filler: string): Script => session => { session.set('filler', filler) }
  const [fits, exceeds] = await largest(async filler => (await visit(cookie, fill(filler))).statusCode)
  const kept = cookieOf(await visit(cookie, fill('x'.repeat(fits))))
  t.ok(kept.length - 1 > 4092 && kept.length - 1 <= 4096, 'name and value, without the equals sign')

  const response = await visit(cookie, fill('x'.repeat(exceeds)))
  t.strictSame(setCookies(response), [])
  const { statusCode, code, message } = response.json()
  t.strictSame([statusCode, code], [500, 'FST_SESSIONS_COOKIE_TOO_LARGE'])
  const [, size] = message.match(/^the cookie of session 'cart' takes (\d+) bytes, more than the 4096 that browsers keep$/)
  t.ok(Number(size) > 4096 && Number(size) <= 4100)
  t.strictSame((await visit(cookie, read)).json(), { visits: 1 }, 'what the browser has still works')
})

test('K4 a handler that meets the error can make room, and is told the truth until then', async t => {
  const { visit } = await start(t)
  const cookie = cookieOf(await visit('', count))
  const attempt = (script: Script): Script => async (session, request, reply) => {
    await script(session, request, reply)
    session.set('filler', 'x'.repeat(4000))
    await t.rejects(session.save(), { code: 'FST_SESSIONS_COOKIE_TOO_LARGE' })
    t.strictSame([session.isModified(), session.isSaved()], [true, false])
    t.notOk(reply.hasHeader('set-cookie'))
    session.delete('filler')
  }
  const again = cookieOf(await visit(cookie, attempt(count)))
  t.strictSame((await visit(again, read)).json(), { visits: 2 })
  const ada = cookieOf(await visit(cookie, attempt(session => session.login('ada'))))
  t.equal((await visit(ada, session => session.principal)).body, 'ada')
})

test('D7 maxSize counts here, too', async t => {
  const { visit } = await start(t, { maxSize: 256 })
  const response = await visit('', session => session.set('filler', 'x'.repeat(300)))
  t.equal(response.json().code, 'FST_SESSIONS_TOO_LARGE')
})

test('L17 saved before the headers leave, the cookie is on the reply; after that a save is an error', async t => {
  const clock = new TestClock()
  const { visit } = await start(t, { clock })
  const cookie = cookieOf(await visit('', count))
  const hijacked = (late: (session: Session) => unknown): Script => async (session, _request, reply) => {
    session.set('early', true)
    await session.save()
    await late(session)
    reply.hijack()
    reply.raw.writeHead(200, reply.getHeaders() as Record<string, string>)
    await t.rejects(session.save(), { code: 'FST_SESSIONS_HEADERS_SENT' })
    reply.raw.end('done')
  }
  const changed = cookieOf(await visit(cookie, hijacked(session => session.set('late', true))))
  t.strictSame((await visit(changed, read)).json(), { visits: 1, early: true })
  const destroyed = cookieOf(await visit(cookie, hijacked(session => session.destroy())))
  t.strictSame((await visit(destroyed, read)).json(), { visits: 1, early: true }, 'and not forgotten silently')

  clock.advance(100)
  const streamed = await visit(cookie, async (session, _request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    await session.save()
    reply.raw.end('done')
  })
  t.strictSame([streamed.statusCode, setCookies(streamed)], [200, []], 'activity alone is not worth an error')
})

test('H10 outside a route a sealed session can be read, and not changed', async t => {
  const clock = new TestClock()
  const { app, visit } = await start(t, { clock, secret: [secret, older] })
  const { visit: old } = await start(t, { clock, secret: older })
  for (const cookie of [cookieOf(await visit('', count)), cookieOf(await old('', count))]) {
    const session = await app.sessions.fromCookie(cookie)
    t.strictSame(session.data(), { visits: 1 })
    await session.touch()
    await session.save()
    session.set('visits', 2)
    await t.rejects(session.save(), { code: 'FST_SESSIONS_DETACHED' })
    const other = await app.sessions.fromCookie(cookie)
    await other.destroy()
    await t.rejects(other.save(), { code: 'FST_SESSIONS_DETACHED' })
  }
})

test('U6 what needs a store that keeps something is an error that names this one', async t => {
  const { app } = await start(t)
  const unable = { code: 'FST_SESSIONS_ABILITY', message: /\bcookie\b/ }
  await t.rejects(app.sessions.listByUser('ada'), unable)
  await t.rejects(app.sessions.destroyByUser('ada'), unable)
  await t.rejects(app.sessions.destroy('x'.repeat(43)), unable)
  await t.rejects(app.sessions.count(), unable)
  await t.rejects(start(t, { maxPerUser: 3 }), { code: 'FST_SESSIONS_OPTION', message: /; cookie does not$/ })
})

test('K7 where the browser would not keep the cookie nothing is sent, and nothing fails', async t => {
  const { visit } = await start(t)
  const headers = { host: 'example.com' }
  const cookie = cookieOf(await visit('', count))
  for (const script of [count, session => session.logout(), session => session.touch()] as Script[]) {
    const response = await visit(cookie, script, { headers })
    t.strictSame([response.statusCode, setCookies(response)], [200, []])
  }
})

test('I6 whatever is presented as a cookie: anonymous, one reason, nothing reflected', async t => {
  const rejected = watch(t, 'rejected')
  const { visit } = await start(t)
  const token = tokenOf(cookieOf(await visit('', count)))
  const presented = [
    '', '.', 'A', 'x'.repeat(10_000), 'A'.repeat(4097), '"', '../..', '%00', '__proto__', '\u00ff\u00fe', 'null',
    token.slice(0, -1), token.slice(1), token.slice(0, 40), `${token}A`, `A${token}`, `${token}=`, `${token}==`,
    `"${token}"`, token.replace('A', '%41'), encodeURIComponent(`${token}=`), token.toLowerCase(), `${token}.${token}`,
    token + token, `${token.slice(0, 20)}\t${token.slice(20)}`, `${token.slice(0, 20)} ${token.slice(20)}`
  ].filter(value => value !== token)
  for (const value of presented) {
    const response = await visit(COOKIE + value, read)
    t.strictSame([response.statusCode, response.json(), setCookies(response)], [200, {}, []])
    t.notOk(value.length > 8 && JSON.stringify(response.headers).includes(value))
  }
  t.equal(rejected.length, presented.length)
  t.strictSame([...new Set(rejected.map(({ reason }) => reason))], ['signature'])
})

test('I6 the same bytes in another spelling are not the same cookie', async t => {
  const { visit } = await start(t)
  let tested = 0
  for (let length = 0; length < 3; length++) {
    const token = tokenOf(cookieOf(await visit('', session => session.set('x', 'x'.repeat(length)))))
    const bytes = Buffer.from(token, 'base64url')
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const spellings = [...alphabet].map(letter => token.slice(0, -1) + letter)
    spellings.push(bytes.toString('base64'), `${token}=`, `${token}%3D`, token.replaceAll('-', '+').replaceAll('_', '/'))
    for (const other of spellings) {
      if (other === token || !Buffer.from(other, 'base64url').equals(bytes)) continue
      tested++
      t.strictSame((await visit(COOKIE + other, read)).json(), {})
    }
  }
  t.ok(tested > 10)
})

test('D4 what was sealed here and cannot be read is corrupt', async t => {
  const sealer = createSealer([secret], 'cookie', 'session')
  const contents = [Buffer.alloc(0), Buffer.alloc(7), Buffer.alloc(8), Buffer.from('12345678{"v":2}')]
  const corrupt = watch(t, 'corrupt', 'rejected')
  const { visit } = await start(t)
  const strict = await start(t, { onCorrupt: 'throw' })
  for (const content of contents) {
    const cookie = COOKIE + sealer.seal(content, '').toString('base64url')
    t.strictSame((await visit(cookie, read)).json(), {})
    const response = await strict.visit(cookie, read)
    t.strictSame([response.statusCode, response.json().code], [500, 'FST_SESSIONS_CORRUPT'])
  }
  t.strictSame(corrupt.map(({ event }) => event), [...contents, ...contents].map(() => 'corrupt'))
})
