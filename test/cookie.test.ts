import { inspect } from 'node:util'
import cookiePlugin from '@fastify/cookie'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test } from 'tap'
import { cookieValues } from '../lib/cookie/cookie.js'
import sessions, { defineStore } from '../lib/index.js'
import type { SessionOptions } from '../lib/index.js'
import { createSigner } from '../lib/records/sign.js'
import { TestClock } from '../lib/testing/clock.js'
import type { SessionStore } from '../types/store.js'
import { startApp } from './helpers/app.js'
import { around, counting, memoryBackend } from './helpers/backends.js'
import { cookieOf, setCookies, startStage, watch } from './helpers/stage.js'
import type { Script } from './helpers/stage.js'

const secretOf = (name: string) => `${name} secret of at least 32 bytes, for tests`
const [secret, older, oldest] = ['a new', 'an old', 'an older'].map(secretOf)
const YEAR = 365 * 86400

const read: Script = session => session.data()
const count: Script = session => session.update('visits', (n = 0) => n + 1)
const destroy: Script = session => session.destroy()

type CookieOptions = NonNullable<SessionOptions['cookie']>

/** The Set-Cookie line of a first write, with ID in place of the id. */
const masked = (line: string) => line.replace(/=[A-Za-z0-9_-]{43}(\.[A-Za-z0-9_-]{43})?;/, '=ID;')

test('K1 K6 the lines that set and delete a cookie, to the letter', async t => {
  const gone = 'Expires=Thu, 01 Jan 1970 00:00:00 GMT'
  const rows: Array<[CookieOptions, string, string]> = [
    [{}, '__Host-session=ID; Path=/; HttpOnly; Secure; SameSite=Lax',
      `__Host-session=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; SameSite=Lax`],
    [{
      name: '__Secure-s',
      domain: 'example.com',
      path: '/shop',
      sameSite: 'none',
      partitioned: true,
      priority: 'high'
    },
    '__Secure-s=ID; Domain=example.com; Path=/shop; HttpOnly; Secure; Partitioned; Priority=High; ' +
      'SameSite=None',
    `__Secure-s=; Max-Age=0; Domain=example.com; Path=/shop; ${gone}; HttpOnly; Secure; Partitioned; ` +
      'Priority=High; SameSite=None'],
    [{ secure: false, httpOnly: false, sameSite: 'strict' },
      'session=ID; Path=/; SameSite=Strict', `session=; Max-Age=0; Path=/; ${gone}; SameSite=Strict`],
    [{ domain: 'example.com' },
      '__Secure-session=ID; Domain=example.com; Path=/; HttpOnly; Secure; SameSite=Lax',
      `__Secure-session=; Max-Age=0; Domain=example.com; Path=/; ${gone}; HttpOnly; Secure; SameSite=Lax`],
    [{ path: '/shop' }, '__Secure-session=ID; Path=/shop; HttpOnly; Secure; SameSite=Lax',
      `__Secure-session=; Max-Age=0; Path=/shop; ${gone}; HttpOnly; Secure; SameSite=Lax`],
    [{ persistent: true }, '__Host-session=ID; Max-Age=1800; Path=/; HttpOnly; Secure; SameSite=Lax',
      `__Host-session=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; SameSite=Lax`]
  ]
  for (const [cookie, set, deleted] of rows) {
    const { visit } = await startStage(t, { cookie, clock: new TestClock() })
    const response = await visit('', count)
    t.same(setCookies(response).map(masked), [set])
    t.same(setCookies(await visit(cookieOf(response), destroy)), [deleted])
  }
})

test('K1 the name follows the session and what is configured', async t => {
  const rows: Array<[SessionOptions, string]> = [
    [{ name: 'shop' }, '__Host-shop'],
    [{ name: 'shop', cookie: { secure: 'auto' } }, 'shop'],
    [{ name: 'shop', cookie: { secure: false } }, 'shop'],
    [{ name: 'shop', cookie: { domain: '.example.com' } }, '__Secure-shop'],
    [{ name: 'shop', cookie: { name: "a!#$%&'*+-.^_`|~Z0" } }, "a!#$%&'*+-.^_`|~Z0"]
  ]
  for (const [options, name] of rows) {
    const { visit } = await startStage(t, options)
    const cookie = cookieOf(await visit('', count))
    t.equal(cookie.split('=')[0], name)
    t.same((await visit(cookie, read)).json(), { visits: 1 })
  }
})

test('K2 what the prefixes __Host- and __Secure- demand is checked at boot, in any spelling', async t => {
  const host = 'session option cookie.name with the prefix __Host- needs cookie.secure: true, ' +
    "cookie.path: '/' and no cookie.domain"
  const secure = 'session option cookie.name with the prefix __Secure- needs cookie.secure: true'
  const rows: Array<[CookieOptions, string]> = []
  for (const name of ['__Host-s', '__host-s', '__HOST-s', '__hOsT-s']) {
    rows.push([{ name, secure: false }, host], [{ name, secure: 'auto' }, host])
    rows.push([{ name, path: '/shop' }, host], [{ name, domain: 'example.com' }, host])
  }
  for (const name of ['__Secure-s', '__secure-s', '__SECURE-s']) {
    rows.push([{ name, secure: false }, secure], [{ name, secure: 'auto' }, secure])
  }
  for (const [cookie, message] of rows) {
    const error = { code: 'FST_SESSIONS_OPTION', message }
    await t.rejects(startApp(t, { cookie }, () => {}), error, inspect(cookie))
  }
  const fine: CookieOptions[] = [
    { name: '__host-s' }, { name: '__Secure-s', path: '/shop', domain: 'example.com' },
    { name: '__Hostess', secure: false }, { name: 'my__Host-s', path: '/shop' }
  ]
  for (const cookie of fine) await t.resolves(startApp(t, { cookie }, () => {}))
})

test('K3 SameSite=None and Partitioned need Secure', async t => {
  for (const secure of [false, 'auto'] as const) {
    await t.rejects(startApp(t, { cookie: { secure, sameSite: 'none' } }, () => {}), {
      code: 'FST_SESSIONS_OPTION', message: "session option cookie.sameSite 'none' needs cookie.secure: true"
    })
    await t.rejects(startApp(t, { cookie: { secure, partitioned: true } }, () => {}), {
      code: 'FST_SESSIONS_OPTION', message: 'session option cookie.partitioned needs cookie.secure: true'
    })
  }
})

test('K3 names, domains and paths that are no such thing are refused at boot', async t => {
  const bad = {
    name: ['', 'a b', 'a=b', 'a;b', 'a,b', 'ä', '"a"', 'a\r\nb', '(a)', 'a/b'],
    domain: ['', 'a b', 'a;b', 'a..b', 'example.com/', 'a\r\nb', 'ä.de', '..a'],
    path: ['', 'shop', '/a;b', '/a\r\nb', '/\0', '/\x7f']
  }
  for (const [field, values] of Object.entries(bad)) {
    const error = { code: 'FST_SESSIONS_OPTION', message: `session option cookie.${field} must be` }
    if (field === 'path') error.message = "session option cookie.path must begin with '/'"
    for (const value of values) {
      await t.rejects(startApp(t, { cookie: { [field]: value } }, () => {}), error, inspect(value))
    }
  }
})

/** A store whose token has a length of the test's choice. */
const bulkyStore = (lengths: number[]) => defineStore({
  type: 'bulky',
  options: Type.Object({}),
  open () {
    const store: SessionStore = {
      load: async () => ({ rejected: 'unknown', hash: '' }),
      create: async () => ({ token: 'x'.repeat(lengths.shift()!), version: '1', handle: null }),
      update: async () => 'missing',
      touch: async () => null,
      remove: async () => 'missing'
    }
    return { store }
  }
})()

test('K4 a cookie that browsers would drop is an error that names the session and the size', async t => {
  const fits = 4096 - '__Host-shop'.length
  const { visit } = await startStage(t, { name: 'shop', store: bulkyStore([fits, fits + 1]) })
  const response = await visit('', count)
  t.equal(cookieOf(response).length, 4097, 'the = does not count')

  const refused = await visit('', count)
  t.equal(refused.statusCode, 500)
  t.match(refused.json(), {
    code: 'FST_SESSIONS_COOKIE_TOO_LARGE',
    message: "the cookie of session 'shop' takes 4097 bytes, more than the 4096 that browsers keep"
  })
  t.same(setCookies(refused), [])
})

test('K5 Max-Age is a whole number, at most 400 days, and never longer than the session lives', async t => {
  const limit = 400 * 86400
  const remember = (seconds: number): Script => session => {
    session.set('visits', 1)
    return session.remember(seconds)
  }
  const rows: Array<[SessionOptions, Script, number | null]> = [
    [{}, count, null],
    [{ cookie: { persistent: true } }, count, 1800],
    [{ cookie: { persistent: true }, idleTimeout: 90.9 }, count, 90],
    [{ cookie: { persistent: true }, idleTimeout: null }, count, 43200],
    [{ cookie: { persistent: true }, idleTimeout: null, absoluteTimeout: null }, count, limit],
    [{ cookie: { persistent: true }, idleTimeout: 2 * YEAR, absoluteTimeout: null }, count, limit],
    [{ cookie: { maxAge: 60 } }, count, 60],
    [{ cookie: { maxAge: 3600 } }, count, 1800],
    [{ cookie: { maxAge: 2 * YEAR }, idleTimeout: null, absoluteTimeout: null }, count, limit],
    [{}, remember(1000.5), 1000],
    [{}, remember(2 * YEAR), limit],
    [{ cookie: { maxAge: 60 } }, remember(1000), 60]
  ]
  for (const [options, script, maxAge] of rows) {
    const { visit } = await startStage(t, { ...options, clock: new TestClock() })
    const [line] = setCookies(await visit('', script))
    t.equal(/; Max-Age=([^;]*)/.exec(line)?.[1], maxAge?.toString(), inspect([options, maxAge]))
    t.notMatch(line, 'Expires')
  }
  for (const maxAge of [0, -1, 1.5]) {
    const error = { code: 'FST_SESSIONS_OPTION', message: /cookie\.maxAge/ }
    await t.rejects(startApp(t, { cookie: { maxAge } }, () => {}), error)
  }
})

interface Line { level: number, msg: string }

function logged () {
  const lines: Line[] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  const warnings = () => lines.filter(({ level }) => level >= 40)
  return { lines, warnings, logger: { level: 'trace', stream } }
}

test('K7 over plain http a secure cookie is not sent, and the log says once why', async t => {
  const { logger, warnings } = logged()
  const { visit } = await startStage(t, {}, { logger })
  const request = { headers: { host: 'shop.example', 'x-forwarded-proto': 'https' } }
  for (let n = 0; n < 3; n++) {
    const response = await visit('', count, request)
    t.equal(response.statusCode, 200)
    t.same(setCookies(response), [])
    t.equal(response.headers['cache-control'], undefined)
  }
  t.equal(warnings().length, 1)
  t.match(warnings()[0], {
    level: 40,
    session: 'session',
    protocol: 'http',
    msg: 'the session cookie was not sent: it is secure, and the request came over plain http; ' +
      'behind a proxy that ends TLS set the Fastify option trustProxy, else set cookie.secure'
  })
})

test('K7 nothing is stored, and no id changed, for a browser that would not learn of it', async t => {
  const backend = counting(await memoryBackend())
  const { visit } = await startStage(t, { store: { type: 'custom', backend } })
  const elsewhere = { headers: { host: 'shop.example' } }
  await visit('', count, elsewhere)
  t.same(backend.calls, [])

  const cookie = cookieOf(await visit('', count))
  backend.calls.length = 0
  t.same(setCookies(await visit(cookie, session => session.regenerate(), elsewhere)), [])
  t.same(backend.calls, ['read'])
  t.same((await visit(cookie, read)).json(), { visits: 1 })
})

test('K7 a deletion is not sent there either', async t => {
  const { logger, warnings } = logged()
  const { visit } = await startStage(t, {}, { logger })
  const cookie = cookieOf(await visit('', count))
  t.same(setCookies(await visit(cookie, destroy, { headers: { host: 'shop.example' } })), [])
  t.equal(warnings().length, 1)
  t.same((await visit(cookie, read)).json(), {}, 'but the session is destroyed')
})

test('K7 loopback hosts count as secure', async t => {
  const { logger, warnings } = logged()
  const { visit } = await startStage(t, {}, { logger })
  const visited = async (host: string) =>
    setCookies(await visit('', count, { headers: { host } })).map(masked)
  for (const name of ['localhost', '127.0.0.1', '[::1]']) {
    for (const host of [name, `${name}:3000`]) {
      t.same(await visited(host), ['__Host-session=ID; Path=/; HttpOnly; Secure; SameSite=Lax'], host)
    }
  }
  t.same(warnings(), [])
  const foreign = [
    'localhost.example', 'my.localhost.example:80', 'notlocalhost', '127.0.0.1.example', '127.0.0.10',
    '[::2]', '[::1', 'localhost@shop.example', 'shop.example:localhost'
  ]
  for (const host of foreign) t.same(await visited(host), [], host)
})

test('K7 behind a trusted proxy that ends TLS it is sent', async t => {
  const { visit } = await startStage(t, {}, { trustProxy: true })
  const request = (proto: string) => ({ headers: { host: 'shop.example', 'x-forwarded-proto': proto } })
  t.equal(setCookies(await visit('', count, request('https'))).length, 1)
  t.equal(setCookies(await visit('', count, request('http'))).length, 0)
})

test("K7 secure: 'auto' follows the protocol", async t => {
  const { visit } = await startStage(t, { cookie: { secure: 'auto' } }, { trustProxy: true })
  const set = async (proto: string, host: string) =>
    setCookies(await visit('', count, { headers: { host, 'x-forwarded-proto': proto } })).map(masked)
  t.same(await set('https', 'shop.example'), ['session=ID; Path=/; HttpOnly; Secure; SameSite=Lax'])
  t.same(await set('http', 'shop.example'), ['session=ID; Path=/; HttpOnly; SameSite=Lax'])
  t.same(await set('http', 'localhost'), ['session=ID; Path=/; HttpOnly; SameSite=Lax'])
})

test('K7 secure: false is sent everywhere, without the attribute', async t => {
  const { logger, warnings } = logged()
  const { visit } = await startStage(t, { cookie: { secure: false } }, { logger, trustProxy: true })
  for (const proto of ['http', 'https']) {
    const headers = { host: 'shop.example', 'x-forwarded-proto': proto }
    const response = await visit('', count, { headers })
    t.same(setCookies(response).map(masked), ['session=ID; Path=/; HttpOnly; SameSite=Lax'])
  }
  t.same(warnings(), [])
})

test('K8 no Set-Cookie while the id stays, and the expiry of a persistent cookie', async t => {
  const clock = new TestClock()
  const { visit } = await startStage(t, { clock })
  const cookie = cookieOf(await visit('', count))
  for (const script of [read, count, (session => session.touch()) as Script]) {
    clock.advance(61)
    t.same(setCookies(await visit(cookie, script)), [])
  }

  const persistent = await startStage(t, { clock, cookie: { persistent: true } })
  const kept = cookieOf(await persistent.visit('', count))
  t.same(setCookies(await persistent.visit(kept, count)), [], 'at the same instant the end has not moved')
  clock.advance(59)
  t.same(setCookies(await persistent.visit(kept, read)), [], 'activity is not worth a write yet')
  const renewed = `${kept}; Max-Age=1800; `
  clock.advance(1)
  t.match(setCookies(await persistent.visit(kept, read))[0], renewed, 'activity moved the end')
  clock.advance(1)
  t.match(setCookies(await persistent.visit(kept, count))[0], renewed, 'so did a write')

  clock.advance(1)
  const remembered = cookieOf(await persistent.visit(kept, session => session.remember(YEAR)))
  clock.advance(86400)
  for (const script of [read, count, (session => session.touch()) as Script]) {
    t.same(setCookies(await persistent.visit(remembered, script)), [], 'a fixed end does not move')
  }
})

test('K9 one Set-Cookie per response; those of the application are kept', async t => {
  const scripts: Record<string, Script> = {
    'reply.setCookie before' (session, _request, reply) {
      reply.setCookie('mine', '1', { path: '/' })
      session.set('visits', 1)
    },
    'reply.setCookie after save()': async (session, _request, reply) => {
      session.set('visits', 1)
      await session.save()
      reply.setCookie('mine', '1', { path: '/' })
    },
    'reply.header before' (session, _request, reply) {
      reply.header('set-cookie', 'mine=1')
      session.set('visits', 1)
    },
    'reply.header after save()': async (session, _request, reply) => {
      session.set('visits', 1)
      await session.save()
      reply.header('set-cookie', 'mine=1')
    },
    'all of it, and the cookie changed three times': async (session, _request, reply) => {
      reply.setCookie('mine', '1', { path: '/' })
      reply.header('set-cookie', 'other=1')
      session.set('visits', 1)
      await session.save()
      reply.header('set-cookie', ['third=1', 'fourth=1'])
      await session.regenerate()
      await session.save()
      await session.login('ada')
    }
  }
  const { visit } = await startStage(t, {})
  for (const [how, script] of Object.entries(scripts)) {
    const response = await visit('', script)
    t.equal(response.statusCode, 200, how)
    const names = setCookies(response).map(line => line.split('=')[0]).sort()
    const expected = how.startsWith('all') ? ['fourth', 'mine', 'other', 'third'] : ['mine']
    t.same(names, ['__Host-session', ...expected], how)
    const [ours] = setCookies(response).filter(line => line.startsWith('__Host-session='))
    const again = await visit(ours.split(';')[0], session => session.isNew)
    t.equal(again.json(), false, `${how}: and it works`)
  }
})

test('K9 a cookie whose name begins like ours is kept, and one that a later hook sets', async t => {
  const app = await startApp(t, {}, app => {
    app.addHook('onSend', async (_request, reply) => { reply.setCookie('late', '1', { path: '/' }) })
    app.get('/', async (request, reply) => {
      reply.header('set-cookie', '__Host-session2=1').header('set-cookie', '__Host-=1')
      const session = await request.session.load()
      session.set('visits', 1)
      await session.save()
      await session.login('ada')
      return 'ok'
    })
  })
  const names = setCookies(await app.inject('/')).map(line => line.split('=')[0]).sort()
  t.same(names, ['__Host-', '__Host-session', '__Host-session2', 'late'])
})

test('K9 destroying what was saved in the same request leaves the deletion only', async t => {
  const { visit } = await startStage(t, {})
  const response = await visit('', async session => {
    session.set('visits', 1)
    await session.save()
    await session.destroy()
  })
  t.match(setCookies(response), [/^__Host-session=; Max-Age=0;/])
})

test('K9 a hook that runs before ours gets the cookie too, when it saves and when it answers', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async (request, reply) => {
    const session = await request.session.load()
    if (request.url === '/read') return reply.send(session.data())
    session.set('visits', 1)
    if (request.url === '/saved') await session.save()
    if (request.url === '/answered') return reply.send('answered')
  })
  await app.register(cookiePlugin)
  await app.register(sessions)
  app.get('/*', async () => 'ok')
  for (const url of ['/saved', '/answered', '/neither']) {
    const response = await app.inject(url)
    t.match(setCookies(response), [/^__Host-session=[\w-]{43}; Path=/], url)
    const again = await app.inject({ url: '/read', headers: { cookie: cookieOf(response) } })
    t.same(again.json(), { visits: 1 }, url)
  }
})

test('K10 neither id nor signature nor secret in bodies, logs, errors, URLs and events', async t => {
  const { logger, lines } = logged()
  const memory = await memoryBackend()
  let broken = false
  const backend = around(memory, (verb, call) => {
    if (broken) throw new Error(`${verb} failed`)
    return call()
  })
  const events = watch(t, 'created', 'rotated', 'destroyed', 'rejected', 'gone', 'failure')
  const told: unknown[] = []
  const serializers = { err: (error: unknown) => inspect(error, { depth: null }) }
  const { visit } = await startStage(t, { store: { type: 'custom', backend }, secret }, {
    logger: { ...logger, serializers: serializers as never }
  })
  const cookies = new Set<string>()
  let cookie = ''
  const scripts: Script[] = [
    count,
    session => inspect(session) + JSON.stringify(session) + session.id + Object.values(session).join(),
    session => session.login('ada'),
    session => { session.set('cart', [(() => {}) as never]) },
    () => { throw new Error('a handler failed') },
    session => session.regenerate(),
    (session, request, reply) => {
      request.log.info({ session, req: request }, 'seen')
      return reply.redirect('/')
    },
    destroy,
    count
  ]
  for (const failing of [false, true]) {
    for (const script of scripts) {
      broken = failing
      const response = await visit(cookie, script)
      for (const line of setCookies(response)) {
        cookie = line.split(';')[0]
        cookies.add(cookie)
      }
      const { 'set-cookie': _ours, ...headers } = response.headers
      told.push(response.payload, headers)
    }
  }
  told.push(lines, events)
  const all = inspect(told, { depth: null, maxArrayLength: null, maxStringLength: null })
  t.ok(all.includes('FST_SESSIONS_STORE') && all.includes('a handler failed'), 'there was something to tell')
  t.ok(cookies.size > 4)
  const tokens = [...cookies].map(it => it.slice('__Host-session='.length))
  for (const secretPart of [secret, ...tokens.flatMap(token => token.split('.'))]) {
    if (secretPart !== '') t.notOk(all.includes(secretPart))
  }
})

test('K11 Vary: Cookie when it was used, Cache-Control: no-store when a cookie was set', async t => {
  const app = await startApp(t, {}, app => {
    app.get('/unused', async () => 'ok')
    app.get('/', async (request, reply) => {
      const { vary, cache, write } = request.query as Record<string, string | undefined>
      if (vary !== undefined) reply.header('vary', vary)
      if (cache !== undefined) reply.header('cache-control', cache)
      const session = await request.session.load()
      if (write !== undefined) session.set('visits', 1)
      return 'ok'
    })
  })
  const headers = async (url: string) => {
    const { vary, 'cache-control': cache } = (await app.inject(url)).headers
    return [vary, cache]
  }
  t.same(await headers('/unused'), [undefined, undefined])
  t.same(await headers('/'), ['Cookie', undefined])
  t.same(await headers('/?write'), ['Cookie', 'no-store'])
  t.same(await headers('/?write&cache=private'), ['Cookie', 'private'], 'a route may say otherwise')
  for (const [sent, expected] of [
    ['Origin', 'Origin, Cookie'], ['cookie', 'cookie'], ['Accept, COOKIE', 'Accept, COOKIE'], ['*', '*'],
    ['x-cookie', 'x-cookie, Cookie'], ['Cookie2, Origin', 'Cookie2, Origin, Cookie']
  ]) t.same(await headers(`/?vary=${encodeURIComponent(sent)}`), [expected, undefined], sent)
})

test('K11 several Vary headers of the application are kept', async t => {
  const { visit } = await startStage(t, {})
  const response = await visit('', (session, _request, reply) => {
    reply.raw.setHeader('x-other', '1')
    reply.header('vary', ['Origin', 'Accept'])
    return session.data()
  })
  t.match(String(response.headers.vary), /Origin, ?Accept, Cookie/)
})

test('K12 a signature binds the name of the session', async t => {
  const backend = await memoryBackend()
  const options: SessionOptions = { store: { type: 'custom', backend }, secret, cookie: { name: 'sid' } }
  const a = await startStage(t, { ...options, name: 'a' })
  const b = await startStage(t, { ...options, name: 'b' })
  const sameAsA = await startStage(t, { ...options, name: 'a' })
  const cookie = cookieOf(await a.visit('', count))

  const events = watch(t, 'rejected')
  t.same((await sameAsA.visit(cookie, read)).json(), { visits: 1 })
  t.same((await b.visit(cookie, read)).json(), {})
  t.match(events, [{ session: 'b', reason: 'signature' }])
  const [signerA, signerB] = [createSigner([secret], 'a'), createSigner([secret], 'b')]
  t.not(signerA.sign('id'), signerB.sign('id'))
  t.not(createSigner([secret], 'a').sign('other id'), signerA.sign('id'))
})

test('K13 the first secret signs, all of them verify, and a removed one rejects', async t => {
  const backend = counting(await memoryBackend())
  const start = (...secret: string[]) => startStage(t, { store: { type: 'custom', backend }, secret })
  const before = await start(oldest)
  const cookie = cookieOf(await before.visit('', count))
  const rotated = await start(secret, older, oldest)
  const after = await start(secret)

  t.same((await after.visit(cookie, read)).json(), {}, 'not yet issued anew')
  const looked = await rotated.visit(cookie, read)
  t.same(looked.json(), { visits: 1 })
  const renewed = cookieOf(looked)
  t.not(renewed, cookie)
  t.equal(renewed.split('.')[0], cookie.split('.')[0], 'the same session under the same id')
  t.same((await after.visit(renewed, read)).json(), { visits: 1 })
  t.same(setCookies(await rotated.visit(renewed, read)), [], 'once is enough')
  t.same((await before.visit(renewed, read)).json(), {})

  const written = await rotated.visit(cookie, count)
  t.equal(cookieOf(written), renewed, 'a write issues it anew as well')
  t.same((await after.visit(renewed, read)).json(), { visits: 2 }, 'and nobody was logged out')

  const bytes = await startStage(t, { store: { type: 'custom', backend }, secret: Buffer.from(oldest) })
  t.same((await bytes.visit(cookie, read)).json(), { visits: 2 }, 'a buffer is as good as a string')
})

test('K13 a cookie is issued anew only when the store has confirmed that the session lives', async t => {
  const clock = new TestClock()
  const memory = await memoryBackend(clock)
  let beforeTouch = async () => {}
  const backend = counting(around(memory, async (verb, call) => {
    if (verb === 'touch') await beforeTouch()
    return call()
  }))
  const options: SessionOptions = { store: { type: 'custom', backend }, clock }
  const before = await startStage(t, { ...options, secret: older })
  const { visit } = await startStage(t, { ...options, secret: [secret, older] })
  const destroyed = cookieOf(await before.visit('', count))
  const expired = cookieOf(await before.visit('', count))
  await before.visit(destroyed, destroy)
  clock.advance(1800)
  for (const dead of [destroyed, expired]) t.same(setCookies(await visit(dead, read)), [])

  const alive = cookieOf(await before.visit('', count))
  beforeTouch = async () => { await before.visit(alive, destroy) }
  backend.calls.length = 0
  const response = await visit(alive, read)
  t.same(setCookies(response), [], 'destroyed between reading and confirming')
  t.same(backend.calls.filter(verb => verb === 'touch').length, 1)
})

test('K13 an id made up by the client and signed with a known secret is not issued anew', async t => {
  const { visit } = await startStage(t, { secret: [secret, older] })
  const id = 'a'.repeat(43)
  const forged = `__Host-session=${id}.${createSigner([older], 'session').sign(id)}`
  t.same(setCookies(await visit(forged, read)), [])
})

test('K14 a secret of fewer than 32 bytes is refused at boot', async t => {
  const short = 's'.repeat(31)
  const few = Buffer.alloc(31)
  const bad: unknown[] = [short, '', [], [secret, short], few, [few], 32, null, {}, [[secret]]]
  for (const given of bad) {
    const error = await startApp(t, { secret: given as string }, () => {}).then(() => null, error => error)
    const message = /^session option secret must be a string or buffer of at least 32 bytes/
    t.match(error, { code: 'FST_SESSIONS_OPTION', message })
    t.notMatch(inspect(error), short)
  }
  const good = ['s'.repeat(32), 'ä'.repeat(16), Buffer.alloc(32), new Uint8Array(32), [secret, older]]
  for (const given of good) {
    await t.resolves(startApp(t, { secret: given }, () => {}))
  }
})

test('the Cookie header is searched for the name, nothing more', t => {
  t.same(cookieValues(undefined, 's'), [])
  t.same(cookieValues('', 's'), [])
  t.same(cookieValues('s', 's'), [])
  t.same(cookieValues('a; s=1', 's'), ['1'])
  t.same(cookieValues('s=1;s=2 ; s = 3;S=4;as=5;sa=6;=7;;', 's'), ['1', '2', '3'])
  t.same(cookieValues('a=s=1; s=b=c', 's'), ['b=c'])
  t.same(cookieValues('s; s=1', 's'), ['1'])
  t.same(cookieValues('s=', 's'), [''])
  t.same(cookieValues('__proto__=1', '__proto__'), ['1'])
  t.same(cookieValues('s=1; '.repeat(9), 's'), ['1', '1', '1', '1'])
  t.end()
})
