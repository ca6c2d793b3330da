import { mock } from 'node:test'
import cookie from '@fastify/cookie'
import expressSession from 'express-session'
import Fastify from 'fastify'
import memorystore from 'memorystore'
import t from 'tap'
import type { Test } from 'tap'
import sessions from '../../lib/index.js'
import { newKey } from '../../lib/testing/backend-lab.js'
import { openBackend, TestClock } from '../../lib/testing/index.js'
import { expressStore } from '../../stores/express.js'
import type { ExpressStore } from '../../stores/express.js'
import { signal } from '../helpers/pause.js'

const MemoryStore = memorystore(expressSession)
const index = { principal: 'ada', createdAt: 5 }

async function open (t: Test, store: ExpressStore, namespace?: string) {
  const clock = new TestClock()
  const { backend, close } = await openBackend(expressStore({ store }), { clock, namespace })
  t.teardown(close)
  const record = (value: string | Uint8Array, seconds = 60) =>
    ({ value, version: newKey(), expiresAt: clock.now() + seconds * 1000 })
  return { backend, clock, record }
}

interface Given {
  cookie: { expires: Date, maxAge: number, originalMaxAge: number, path: string, httpOnly: boolean }
  fastifySession: object
}

t.test('the store is given what express-session would give it, and our record in one field', async t => {
  const given: Array<[string, Given]> = []
  class Watched extends MemoryStore {
    override set (sid: string, session: expressSession.SessionData, done: () => void) {
      given.push([sid, session as unknown as Given])
      super.set(sid, session, done)
    }
  }
  const { backend, record, clock } = await open(t, new Watched({}), 'auth')
  const key = newKey()
  const first = record('text', 60)
  const second = record(Uint8Array.of(1, 2, 255), 120)
  await backend.create(key, first, index)
  await backend.update(key, second, { principal: null, createdAt: 5 }, first.version)
  await backend.touch(key, clock.now() + 30_000)

  const { value: text, ...one } = first
  const { version } = second
  t.strictSame(given.map(([sid, { fastifySession }]) => [sid, fastifySession]), [
    [`auth.${key}`, { text, ...one, ...index }],
    [`auth.${key}`, { base64: 'AQL/', version, expiresAt: second.expiresAt, principal: null, createdAt: 5 }],
    [`auth.${key}`, { base64: 'AQL/', version, expiresAt: clock.now() + 30_000, principal: null, createdAt: 5 }]
  ])
  for (const [i, seconds] of [60, 120, 30].entries()) {
    const { expires, ...cookie } = given[i][1].cookie
    t.strictSame(cookie, { path: '/', httpOnly: true, originalMaxAge: seconds * 1000, maxAge: seconds * 1000 })
    const ahead = expires.getTime() - Date.now()
    t.ok(ahead <= seconds * 1000 && ahead > seconds * 1000 - 5000, 'expires is a Date by the clock of the system')
  }
})

t.test('an expiry never has a year of five digits', async t => {
  let expires = new Date(0)
  const { backend, clock } = await open(t, {
    get: (_sid, done) => done(null),
    set (_sid, session, done) {
      expires = (session as Given).cookie.expires
      done()
    },
    destroy: (_sid, done) => done()
  })
  clock.advance(-10)
  const expiresAt = Date.UTC(9999, 11, 31, 23, 59, 59)
  await backend.create(newKey(), { value: '', version: '1', expiresAt }, index)
  t.equal(expires.toISOString(), '9999-12-31T23:59:59.000Z')
})

t.test('a session of another owner under our key is none of ours', async t => {
  const store = new MemoryStore({})
  const { backend } = await open(t, store)
  const key = newKey()
  const foreign = { cookie: { originalMaxAge: null }, user: 'ada' } as unknown as expressSession.SessionData
  await new Promise<void>(resolve => store.set(key, foreign, () => resolve()))
  t.equal(await backend.read(key), null)
})

/** As stores are written: each is a Map behind another way to answer. */
const styles: Record<string, (sessions: Map<string, object>) => ExpressStore> = {
  'by callback': sessions => ({
    get: (sid, done) => { setImmediate(done, null, sessions.get(sid)) },
    set: (sid, session, done) => { sessions.set(sid, session); setImmediate(done) },
    destroy: (sid, done) => { sessions.delete(sid); setImmediate(done, null) }
  }),
  'by promise': sessions => ({
    get: async (sid: string) => sessions.get(sid),
    set: async (sid: string, session: object) => { sessions.set(sid, session) },
    destroy: async (sid: string) => { sessions.delete(sid) }
  }),
  'by callback, after a promise that says nothing': sessions => ({
    get: async (sid, done) => { setTimeout(done, 1, null, sessions.get(sid)) },
    set: async (sid, session, done) => { setTimeout(() => { sessions.set(sid, session); done() }, 1) },
    destroy: async (sid, done) => { setTimeout(() => { sessions.delete(sid); done() }, 1) }
  }),
  'by callback, with an object that is no promise': sessions => ({
    get: (sid, done) => { done(null, sessions.get(sid)); return { then: 'soon' } },
    set: (sid, session, done) => { sessions.set(sid, session); done(); return sessions },
    destroy: (sid, done) => { sessions.delete(sid); done(); return true }
  }),
  'ENOENT for what is missing': sessions => ({
    get (sid, done) {
      const error = Object.assign(new Error('no such file'), { code: 'ENOENT' })
      if (sessions.has(sid)) done(null, sessions.get(sid))
      else done(error)
    },
    set: (sid, session, done) => { sessions.set(sid, session); done() },
    destroy: (sid, done) => { sessions.delete(sid); done() }
  })
}

for (const [style, create] of Object.entries(styles)) {
  t.test(`a store that answers ${style}`, async t => {
    const { backend, record } = await open(t, create(new Map()))
    const key = newKey()
    const first = record('first')
    const second = record('second')
    t.equal(await backend.read(key), null)
    t.equal(await backend.touch(key, second.expiresAt), false)
    t.equal(await backend.create(key, first, index), true)
    t.equal(await backend.update(key, second, index, first.version), 'ok')
    t.strictSame(await backend.read(key), second)
    t.equal(await backend.remove(key, first.version), 'conflict')
    t.equal(await backend.remove(key), 'ok')
    t.equal(await backend.read(key), null)
    await backend.ping!()
  })
}

const failures: Record<string, (error: Error) => (...args: unknown[]) => unknown> = {
  'by callback': error => (...args) => (args.at(-1) as (error: Error) => void)(error),
  'by promise': error => async () => { throw error },
  'at once': error => () => { throw error }
}

for (const [style, fail] of Object.entries(failures)) {
  t.test(`a store that fails ${style}`, async t => {
    const error = Object.assign(new Error('down'), { code: 'EIO' })
    const down = fail(error)
    const { backend, record } = await open(t, { get: down, set: down, destroy: down })
    const key = newKey()
    const calls: Array<Promise<unknown>> = [
      backend.read(key), backend.create(key, record(''), index), backend.update(key, record(''), index, ''),
      backend.touch(key, 0), backend.remove(key), backend.ping!()
    ]
    for (const call of calls) await t.rejects(call, error)

    const healthy = new MemoryStore({})
    const get = healthy.get.bind(healthy)
    const half = await open(t, { get, set: fail(Object.assign(new Error(), { code: 'ENOENT' })), destroy: down })
    await t.rejects(half.backend.create(key, half.record(''), index), { code: 'ENOENT' }, 'an error of set is one')
  })
}

t.test('a call that is never answered ends after ten seconds, and the next one has its turn', async t => {
  const store = new MemoryStore({})
  let lost = 0
  const { backend, record } = await open(t, {
    get: (sid, done) => { if (lost-- <= 0) store.get(sid, done) },
    set: store.set.bind(store),
    destroy: store.destroy.bind(store)
  })
  const [key, other] = [newKey(), newKey()]
  const first = record('first')
  await backend.create(key, first, index)
  await backend.create(other, first, index)

  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  lost = 1
  const calls = [backend.touch(key, first.expiresAt), backend.update(key, record('second'), index, first.version)]
  const settled = Promise.allSettled(calls)
  t.equal(await backend.touch(other, first.expiresAt), true, 'other sessions do not wait')
  mock.timers.tick(9999)
  const over = calls[0].catch(() => 'over')
  t.equal(await Promise.race([over, backend.ping!()]), undefined, 'not yet')
  mock.timers.tick(1)
  const [touched, updated] = await settled
  t.match(touched, { status: 'rejected', reason: { code: 'FST_SESSIONS_STORE', message: /get in 10 s/ } })
  t.strictSame(updated, { status: 'fulfilled', value: 'ok' })
})

/** A store whose next `set` waits until the test lets it go. */
function holding (store: expressSession.Store) {
  const arrived = signal()
  const released = signal()
  const held: ExpressStore = {
    get: store.get.bind(store),
    destroy: store.destroy.bind(store),
    set: async (sid, session, done) => {
      arrived.give()
      await released.given
      store.set(sid, session as expressSession.SessionData, done)
    }
  }
  return { held, arrived: arrived.given, release: released.give }
}

t.test('what is weak is as weak as it is said: between processes a late write undoes a removal', async t => {
  const store = new MemoryStore({})
  const { held, arrived, release } = holding(store)
  const here = await open(t, store)
  const elsewhere = await open(t, held)
  const key = newKey()
  const first = here.record('first')
  await here.backend.create(key, first, index)
  const late = elsewhere.backend.update(key, elsewhere.record('late'), index, first.version)
  await arrived
  t.equal(await here.backend.remove(key), 'ok')
  release()
  t.equal(await late, 'ok')
  t.match(await here.backend.read(key), { value: 'late' }, 'no test of ours can hope for better')
})

t.test('within a process the removal waits for the write, also of another application', async t => {
  const { held, arrived, release } = holding(new MemoryStore({}))
  const one = await open(t, held)
  const two = await open(t, held)
  const key = newKey()
  const first = one.record('first')
  const created = one.backend.create(key, first, index)
  await arrived
  const removed = two.backend.remove(key)
  release()
  t.equal(await created, true)
  t.equal(await removed, 'ok')
  t.equal(await one.backend.read(key), null)
})

t.test('what the store cannot do is said once, at boot', async t => {
  const lines: Array<{ level: number, msg: string, session?: string }> = []
  const app = Fastify({ logger: { stream: { write: line => lines.push(JSON.parse(line)) } } })
  t.teardown(() => app.close())
  let closed = 0
  const store = Object.assign(new MemoryStore({}), { close: () => closed++ })
  await app.register(cookie)
  await app.register(sessions, { store: expressStore({ store }) })
  app.get('/', async (request) => {
    const session = await request.session.load()
    session.set('n', 1)
    return 'ok'
  })
  for (let i = 0; i < 3; i++) t.equal((await app.inject('/')).body, 'ok')
  const warnings = lines.filter(({ msg }) => /compare and set/.test(msg))
  t.match(warnings, [{ level: 40, session: 'session', msg: /between processes the last write wins/ }])
  t.equal(warnings.length, 1)

  await app.close()
  t.equal(closed, 0, 'the store is the application\'s')
})

t.test('what is no store is refused', async t => {
  const wrong = [undefined, null, 'redis', {}, MemoryStore, { get () {}, set () {} }]
  for (const store of wrong) {
    t.throws(() => expressStore({ store: store as unknown as ExpressStore }), {
      code: 'FST_SESSIONS_OPTION',
      message: /^express store option store must be an express-session store: an object with the methods get, set and/
    })
  }
  t.throws(() => expressStore({ prefix: 'x' } as object), { message: /prefix is unknown/ })
})
