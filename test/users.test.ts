import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { Session, SessionBackend, SessionOptions, SessionStore, UserSession } from '../lib/index.js'
import { test } from 'tap'
import { defineStore, requireFresh } from '../lib/index.js'
import { TestClock } from '../lib/testing/clock.js'
import { createUserLimit } from '../lib/session/user-limit.js'
import { Type } from '@sinclair/typebox'
import { startApp } from './helpers/app.js'
import { gated, memoryBackend } from './helpers/backends.js'
import { cookieOf, setCookies, startStage, watch } from './helpers/stage.js'

const login = (user: string) => (session: Session) => session.login(user).then(() => 'done')
const done = (work: (session: Session) => unknown) => async (session: Session) => {
  await work(session)
  return 'done'
}

async function start (t: Test, options: SessionOptions = {}) {
  const clock = new TestClock()
  const backend = gated(await memoryBackend(clock))
  const stage = await startStage(t, { store: { type: 'custom', backend }, clock, ...options })
  const { visit } = stage
  return {
    ...stage,
    users: stage.app.sessions,
    clock,
    backend,
    logIn: async (user: string, cookie = '') => cookieOf(await visit(cookie, login(user))),
    id: async (cookie: string): Promise<string> => (await visit(cookie, ({ id }) => ({ id }))).json().id
  }
}

test('U6 a store without the ability is an error that names the store and what it cannot do', async t => {
  const { read, create, update, touch, remove } = await memoryBackend()
  const plain: SessionBackend = { read, create, update, touch, remove }
  const { app: { sessions } } = await startStage(t, { store: { type: 'custom', backend: plain } })
  const cannot = (message: string) => ({ code: 'FST_SESSIONS_ABILITY', statusCode: 500, message })
  await t.rejects(sessions.listByUser('ada'), cannot('the custom store cannot list the sessions of a user'))
  await t.rejects(sessions.destroyByUser('ada'), cannot('the custom store cannot end the sessions of a user'))
  await t.rejects(sessions.count(), cannot('the custom store cannot count its sessions'))
  t.equal(await sessions.sweep(), 0, 'there is nothing to sweep for us')
  t.equal(await sessions.destroy('x'.repeat(43)), false)

  const none = await startStage(t, { store: { type: 'null' } })
  await t.rejects(none.app.sessions.destroy('x'), cannot('the null store cannot end a session by its handle'))
  await t.rejects(none.app.sessions.sweep(), cannot('the null store cannot remove expired sessions'))

  for (const store of [{ type: 'custom', backend: plain }, { type: 'null' }]) {
    await t.rejects(startStage(t, { store, maxPerUser: 1 }), {
      code: 'FST_SESSIONS_OPTION',
      message: `session option maxPerUser needs a store that lists the sessions of a user; ${store.type} does not`
    })
  }
})

test('nobody is not a user, and a handle is nothing else', async t => {
  const { users, visit, backend } = await start(t)
  await visit('', done(session => session.set('n', 1)))
  for (const user of [null, undefined, '', 1] as unknown as string[]) {
    await t.rejects(users.listByUser(user), TypeError)
    await t.rejects(users.destroyByUser(user), TypeError)
  }
  backend.remove = async () => { throw new Error('asked') }
  for (const handle of ['', '../secret', 'x'.repeat(42), `${'x'.repeat(42)}/`, 'x'.repeat(44)]) {
    t.equal(await users.destroy(handle), false)
  }
  t.equal(await users.count(), 1)
})

test('U1 a list is of what is alive, readable and the user\'s, whatever the index says', async t => {
  const { users, logIn, id, backend, clock, app } = await start(t, { absoluteTimeout: 100 })
  const cookies = [await logIn('ada'), await logIn('ada'), await logIn('ada'), await logIn('bob')]
  const [kept, gone, corrupt, foreign] = await Promise.all(cookies.map(id))
  const entry = { createdAt: clock.now(), expiresAt: clock.now() + 1000 }
  backend.keysOf = async function * () {
    for (const key of [kept, gone, corrupt, foreign]) yield { key, ...entry }
  }
  await backend.remove(gone)
  const { version, ...record } = (await backend.read(corrupt))!
  const index = { principal: 'ada', createdAt: 1 }
  await backend.update(corrupt, { ...record, version: 'other', value: '{' }, index, version)
  const handles = async () => (await users.listByUser('ada')).map(({ handle }) => handle)
  t.strictSame(await handles(), [kept], 'records that the index leaves out are read one by one')
  clock.advance(100)
  t.strictSame(await handles(), [])
  backend.keysOf = async function * () { throw new Error('broken') }
  await t.rejects(app.sessions.listByUser('ada'), { code: 'FST_SESSIONS_STORE', statusCode: 503 })
})

test('U1 when a session was used last, where that can be known', async t => {
  const timeouts = { idleTimeout: 100, absoluteTimeout: 250, touchInterval: 10 }
  const { users, logIn, visit, clock } = await start(t, timeouts)
  const begun = clock.now()
  const seen = async (user = 'ada') => {
    const [{ lastSeenAt }] = await users.listByUser(user)
    return lastSeenAt === undefined ? 'unknown' : (lastSeenAt - begun) / 1000
  }
  const cookie = await logIn('ada')
  t.equal(await seen(), 0)
  clock.advance(9)
  await visit(cookie, session => session.data())
  t.equal(await seen(), 0, 'within touchInterval nothing is written')
  clock.advance(80)
  await visit(cookie, session => session.data())
  t.equal(await seen(), 89)
  clock.advance(80)
  await visit(cookie, session => session.data())
  t.equal(await seen(), 'unknown', 'it would have gone on beyond its absolute end')
  await visit('', async session => {
    await session.login('bob')
    await session.remember()
    return 'done'
  })
  t.equal(await seen('bob'), 'unknown')

  const idle = await start(t, { idleTimeout: null })
  await idle.logIn('ada')
  t.notOk('lastSeenAt' in (await idle.users.listByUser('ada'))[0])
})

test('U1 sessions of one instant have an order, and one of them is the current one', async t => {
  const { users, logIn, id, visit } = await start(t)
  const cookies: string[] = []
  for (let n = 0; n < 12; n++) cookies.push(await logIn('ada'))
  const ids = await Promise.all(cookies.map(id))
  const current = async (cookie: string) => {
    const response = await visit(cookie, session => users.listByUser('ada', { current: session }))
    const list: UserSession[] = response.json()
    return list.map(({ handle, current }) => [handle, current])
  }
  const ordered = ids.toSorted().reverse()
  t.strictSame(await current(cookies[0]), ordered.map(handle => [handle, handle === ids[0]]))
  t.strictSame(await current(''), ordered.map(handle => [handle, false]), 'a visitor has none')
})

test('U1 what is kept of a client: cut, without control characters, renewed with the id', async t => {
  const clock = new TestClock()
  const options = { metadata: true, clock, store: { type: 'memory' } }
  const { app, visit } = await startStage(t, options, { trustProxy: true })
  const from = (agent: string | undefined, ip: string) => ({
    headers: { 'user-agent': agent, 'x-forwarded-for': ip } as Record<string, string>
  })
  const list = async () => {
    const [{ ip, userAgent }] = await app.sessions.listByUser('ada')
    return { ip, userAgent }
  }
  const cookie = cookieOf(await visit('', login('ada'), from(`a\tb\x9b${'x'.repeat(300)}`, '2001:db8::1')))
  t.strictSame(await list(), { ip: '2001:db8::1', userAgent: `ab${'x'.repeat(254)}` })
  await visit(cookie, done(session => session.set('n', 1)), from('Other', '192.0.2.1'))
  t.match(await list(), { ip: '2001:db8::1' }, 'a write keeps what is known of the login')
  await visit(cookie, done(session => session.regenerate()), from(undefined, 'z'.repeat(100)))
  t.strictSame(await list(), { ip: 'z'.repeat(64), userAgent: '' })

  const off = await startStage(t, { clock })
  await off.visit('', login('ada'))
  t.notOk('ip' in (await off.app.sessions.listByUser('ada'))[0])
})

test('U2 a session that gets a new id while all are ended, ends', async t => {
  const { users, logIn, visit, backend } = await start(t)
  const cookie = await logIn('ada')
  backend.held.add('remove')
  const rotating = visit(cookie, done(session => session.regenerate()))
  const removing = await backend.next('remove')
  // The new record is there and the old one is not removed yet: what the first round finds in a
  // listing that began before.
  const { removeAllOf } = backend
  let rounds = 0
  backend.removeAllOf = async (...args) => {
    if (rounds++ > 0) return removeAllOf!(...args)
    backend.held.clear()
    await removing.release()
    return 0
  }
  t.equal(await users.destroyByUser('ada'), 1)
  const rotated = cookieOf(await rotating)
  t.equal(rounds, 4, 'until two rounds in a row found nothing')
  t.equal((await visit(rotated, session => `${session.isNew}`)).body, 'true')
  t.equal(await backend.count!(), 0)
})

test('U2 a user who keeps logging in is not told to be logged out', async t => {
  const { users, backend } = await start(t)
  let rounds = 0
  backend.removeAllOf = async () => { rounds++; return 1 }
  await t.rejects(users.destroyByUser('ada'), { code: 'FST_SESSIONS_CONFLICT', statusCode: 503 })
  t.equal(rounds, 20)
})

test('U2 the session itself, or its handle, is left; one that is not stored leaves none', async t => {
  const { users, logIn, id, visit } = await start(t)
  const cookie = await logIn('ada')
  await logIn('ada')
  const events = watch(t, 'destroyed')
  t.equal((await visit(cookie, async session => `${await users.destroyByUser('ada', { except: session })}`)).body, '1')
  t.strictSame(events, [{ event: 'destroyed', session: 'session', hash: null, reason: 'destroyByUser' }])
  const handle = await id(cookie)
  t.equal(await users.destroyByUser('ada', { except: handle }), 0)
  t.equal((await visit('', async session => `${await users.destroyByUser('ada', { except: session })}`)).body, '1')
  t.equal(await users.destroy(handle), false)
  await logIn('ada')
  const [{ handle: other }] = await users.listByUser('ada')
  t.equal(await users.destroy(other), true)
  t.strictSame(events.at(-1), { event: 'destroyed', session: 'session', hash: other, reason: 'destroy' })
})

test('U4 which sessions go: the oldest, and of one instant all processes choose the same', async t => {
  const { users, logIn, id, clock } = await start(t, { maxPerUser: 2 })
  const events = watch(t, 'destroyed')
  const [one, two] = [await id(await logIn('ada')), await id(await logIn('ada'))].toSorted()
  clock.advance(1)
  const three = await id(await logIn('ada'))
  t.strictSame(events, [{ event: 'destroyed', session: 'session', hash: one, reason: 'maxPerUser' }])
  t.strictSame((await users.listByUser('ada')).map(({ handle }) => handle), [three, two])
})

const silent = { debug () {}, warn () {} }

test('U4 all processes order sessions alike, whatever order an index has', async t => {
  const entry = (key: string, createdAt: number) => ({ key, createdAt, expiresAt: 10 })
  const all = [entry('d', 1), entry('b', 2), entry('c', 2), entry('a', 3)]
  for (const own of all) {
    for (const listed of [all, all.toReversed(), all.filter(({ key }) => key !== own.key)]) {
      const ended: string[] = []
      const limit = createUserLimit({
        keysOf: async () => listed,
        remove: async key => { ended.push(key); return true },
        sweep: async () => 0
      }, { name: 'session', max: 2, whenFull: 'evict' })
      const admitted = limit.admit('ada', own, null, silent)
      if (own.key === 'd' || own.key === 'b') await t.rejects(admitted, { code: 'FST_SESSIONS_GONE' })
      else await admitted
      t.strictSame(ended.sort(), ['b', 'd'].filter(key => key !== own.key), 'but its own, which is not there to stay')
    }
  }
})

test('U4 where the limit is new, the many sessions of before end a few at a time', async t => {
  const listed = Array.from({ length: 1000 }, (_, n) => ({ key: `key${n}`, createdAt: n, expiresAt: 5000 }))
  const ended: string[] = []
  let running = 0
  let most = 0
  const limit = createUserLimit({
    keysOf: async () => listed,
    async remove (key) {
      most = Math.max(most, ++running)
      await setImmediate()
      running--
      ended.push(key)
      return true
    },
    sweep: async () => 0
  }, { name: 'session', max: 2, whenFull: 'evict' })
  await limit.admit('ada', listed[999], null, silent)
  t.strictSame(ended, listed.slice(0, 998).map(({ key }) => key), 'the oldest first')
  t.ok(most > 1 && most <= 20, `${most} at once`)
})

test('U4 a login that is itself the oldest has failed, and leaves nothing', async t => {
  for (const kind of ['create', 'rotate']) {
    const { logIn, visit, clock, users, id } = await start(t, { maxPerUser: 1 })
    const visitor = kind === 'create' ? '' : cookieOf(await visit('', done(session => session.set('n', 1))))
    let kept = ''
    const slow = await visit(visitor, async session => {
      await session.login('ada')
      clock.advance(1)
      kept = await id(await logIn('ada'))
      return 'done'
    })
    t.match(slow.json(), { code: 'FST_SESSIONS_GONE' })
    t.equal(slow.statusCode, 409)
    t.strictSame(setCookies(slow), [])
    t.strictSame((await users.listByUser('ada')).map(({ handle }) => handle), [kept])
    t.equal(await users.count(), kind === 'create' ? 1 : 2)
    if (visitor !== '') t.strictSame((await visit(visitor, session => session.data())).json(), { n: 1 })
  }
})

test('U4 a session that another process has ended first is not told twice', async t => {
  const { logIn, backend, clock } = await start(t, { maxPerUser: 1 })
  const events = watch(t, 'destroyed')
  await logIn('ada')
  clock.advance(1)
  const { remove } = backend
  backend.remove = async (...args) => { await remove(...args); return 'missing' }
  await logIn('ada')
  t.strictSame(events, [])
})

test('U4 a store that fails while the sessions are counted leaves the visitor as he was', async t => {
  const { visit, backend, users, clock } = await start(t, { maxPerUser: 1 })
  const cookie = cookieOf(await visit('', done(session => session.set('n', 1))))
  const { keysOf, remove } = backend
  backend.keysOf = async function * () { throw new Error('broken') }
  t.equal((await visit('', login('ada'))).statusCode, 503)
  t.equal((await visit(cookie, login('ada'))).statusCode, 503)
  t.equal(await users.count(), 1)
  t.strictSame((await visit(cookie, session => session.data())).json(), { n: 1 })
  backend.remove = async () => { throw new Error('broken') }
  t.equal((await visit('', login('ada'))).statusCode, 503)
  Object.assign(backend, { keysOf, remove })
  clock.advance(1)
  t.equal((await visit(cookie, login('ada'))).statusCode, 200, 'what could not be removed counts as the oldest')
})

test('U4 only a login is counted: a new id, a failed request and a session without a user are not', async t => {
  const { logIn, visit, backend } = await start(t, { maxPerUser: 1, onMaxPerUser: 'refuse' })
  const cookie = await logIn('ada')
  backend.keysOf = async function * () { throw new Error('asked') }
  t.equal((await visit(cookie, done(session => session.regenerate()))).statusCode, 200)
  t.equal((await visit('', done(session => session.set('n', 1)))).statusCode, 200)
  const failed = await visit(cookieOf(await visit('', done(session => session.set('n', 1)))), (session, _, reply) => {
    reply.code(500)
    return login('ada')(session)
  })
  t.equal(failed.statusCode, 500)
})

test('H10 an upgrade is answered with the session of its cookie, which can be written', async t => {
  const { app, visit, logIn } = await start(t)
  app.server.on('upgrade', async (request: IncomingMessage, socket) => {
    const session = await app.sessions.fromCookie(request.headers.cookie)
    session.update('upgrades', n => Number(n ?? 0) + 1)
    const outcome = await session.save().then(() => session.principal, error => error.code)
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nupgrade: test\r\nconnection: upgrade\r\nx-session: ${outcome}\r\n\r\n`)
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const upgrade = async (cookie: string) => {
    const headers = { connection: 'upgrade', upgrade: 'test', cookie }
    const [response, socket] = await once(httpRequest({ port, headers }).end(), 'upgrade')
    socket.destroy()
    return response.headers['x-session']
  }
  const cookie = await logIn('ada')
  t.equal(await upgrade(`other=1; ${cookie}`), 'ada')
  t.strictSame((await visit(cookie, session => session.data())).json(), { upgrades: 1 })
  t.equal(await upgrade('__Host-session=stranger'), 'FST_SESSIONS_DETACHED')
})

test('H10 outside a route: what can be done with a session, and what needs a response', async t => {
  const { users, visit, backend, clock } = await start(t, { cookie: { persistent: true } })
  const cookie = cookieOf(await visit('', done(session => session.set('n', 1))))
  const needsResponse = { code: 'FST_SESSIONS_DETACHED', statusCode: 500 }

  for (const header of [undefined, '', 'other=1', `${cookie}x`]) {
    const session = await users.fromCookie(header)
    t.strictSame([session.isNew, session.id, session.data()], [true, null, {}])
    await session.save()
    session.set('n', 1)
    await t.rejects(session.save(), needsResponse)
  }
  t.equal(await users.count(), 1)

  const session = await users.fromCookie(cookie)
  t.equal(session.get('n'), 1)
  session.set('n', 2)
  await session.save()
  clock.advance(1000)
  await session.save()
  t.equal((await backend.read(session.id!))!.expiresAt, clock.now() + 1800_000, 'save() notes activity')
  t.strictSame((await visit(cookie, session => session.data())).json(), { n: 2 })
  await session.login('ada')
  await t.rejects(session.save(), needsResponse)
  await session.reload()
  await session.destroy()
  await session.save()
  t.equal(await users.count(), 0)

  const none = await startStage(t, { store: { type: 'null' } })
  const nothing = await none.app.sessions.fromCookie(cookie)
  t.strictSame(nothing.data(), {})
  t.throws(() => nothing.set('n', 1), { code: 'FST_SESSIONS_NO_STORE' })
})

test('several sessions: app.sessions is about the login, part() about one of them', async t => {
  const { app, visit } = await startStage(t, {
    sessions: { auth: { fields: ['user'] }, main: { fields: 'rest', maxPerUser: 1 } }
  })
  const lines = setCookies(await visit('', async session => {
    session.set('user', 'x')
    await session.login('ada')
    return 'done'
  }))
  const cookie = lines.map(line => line.split(';')[0]).join('; ')
  const listed = await app.sessions.listByUser('ada')
  t.equal(listed.length, 1)
  t.strictSame(await app.sessions.part('main').listByUser('ada'), listed)
  t.strictSame(await app.sessions.part('auth').listByUser('ada'), [])
  t.equal(await app.sessions.part('auth').count(), 1)
  t.throws(() => app.sessions.part('other'), { message: "there is no session 'other'; see the option sessions" })
  const session = await app.sessions.fromCookie(cookie)
  t.strictSame([session.get('user'), session.principal], ['x', 'ada'])
  session.set('user', 'y')
  await session.save()
  t.equal((await app.sessions.fromCookie(cookie)).part('auth').get('user'), 'y')
})

test('L20 requireFresh: 401 without a login, and when it is too long ago', async t => {
  t.throws(() => requireFresh(0), { code: 'FST_SESSIONS_OPTION' })
  t.throws(() => requireFresh(NaN), { code: 'FST_SESSIONS_OPTION' })
  const clock = new TestClock()
  const app = await startApp(t, { clock }, app => {
    app.post('/login', async request => { await request.session.login('ada') })
    app.post('/password', { preHandler: requireFresh(300) }, async request => request.session.principal)
    app.post('/off', { preHandler: requireFresh(300), config: { session: false } }, async () => 'ok')
  })
  const post = (url: string, cookie = '') => app.inject({ method: 'POST', url, headers: { cookie } })
  for (const url of ['/password', '/off']) {
    const response = await post(url)
    t.match(response.json(), { code: 'FST_SESSIONS_NOT_FRESH', statusCode: 401 })
  }
  const cookie = cookieOf(await post('/login'))
  clock.advance(299.999)
  t.equal((await post('/password', cookie)).body, 'ada')
  t.equal((await post('/off', cookie)).statusCode, 401)
  clock.advance(0.001)
  t.equal((await post('/password', cookie)).statusCode, 401)
  const again = cookieOf(await post('/login', cookie))
  t.equal((await post('/password', again)).body, 'ada')
})

test('a store of one\'s own without handles can be limited by nothing, and goes by its tokens', async t => {
  const kept = new Map<string, string>()
  const store: SessionStore = {
    async load (token) {
      const value = kept.get(token)
      if (value === undefined) return { rejected: 'unknown', hash: 'hash' }
      return { record: { ...JSON.parse(value), version: 'v' }, token, handle: null }
    },
    async create (draft) {
      kept.set('token', JSON.stringify(draft))
      return { token: 'token', version: 'v', handle: null }
    },
    update: async ({ token }) => ({ token, version: 'v', handle: null }),
    touch: async ({ token }) => ({ token }),
    remove: async () => 'ok'
  }
  const tokens = defineStore({ type: 'tokens', options: Type.Object({}), open: () => ({ store }) })
  const { app, visit } = await startStage(t, { store: tokens() })
  const cookie = cookieOf(await visit('', login('ada')))
  t.equal((await app.sessions.fromCookie(cookie)).principal, 'ada')
  await t.rejects(app.sessions.listByUser('ada'), /the tokens store cannot list/)
})

test('U5 sweep() goes on while the batches are full', async t => {
  const { users, backend } = await start(t)
  const batches = [500, 500, 3]
  backend.sweep = async () => batches.shift()!
  t.equal(await users.sweep(), 1003)
  backend.sweep = async () => { throw new Error('broken') }
  await t.rejects(users.sweep(), { code: 'FST_SESSIONS_STORE', message: 'the session store failed: sweep' })
})
