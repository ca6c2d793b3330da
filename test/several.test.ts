import { inspect } from 'node:util'
import { Type } from '@sinclair/typebox'
import type { LightMyRequestResponse } from 'fastify'
import { test } from 'tap'
import type { Session, SessionOptions } from '../lib/index.js'
import type { SessionBackend } from '../types/store.js'
import { sha256 } from '../lib/base/id.js'
import { createClient } from '../lib/testing/client.js'
import { TestClock } from '../lib/testing/clock.js'
import { memoryStore } from '../stores/memory.js'
import { noRedis, startRedis } from './engines/redis.js'
import { startApp } from './helpers/app.js'
import type { CountingBackend } from './helpers/backends.js'
import { counting, memoryBackend } from './helpers/backends.js'
import { setCookies, watch } from './helpers/stage.js'
import type { Visits } from './helpers/visits.js'
import { startVisits } from './helpers/visits.js'

interface Teardown { teardown (fn: () => unknown): void }
type Parts = NonNullable<SessionOptions['sessions']>

/** auth owns `user` and the login, csrf `token`, and store the rest; each with a backend that counts. */
async function startThree (t: Teardown, options: SessionOptions = {}, own: Parts = {}) {
  const clock = new TestClock()
  const backends: Record<string, CountingBackend & { broken?: Error }> = {}
  const sessions: Parts = {}
  for (const [name, fields] of [['auth', ['user', 'principal']], ['csrf', ['token']], ['rest', 'rest']] as const) {
    backends[name] = counting(await memoryBackend(clock))
    sessions[name] = { fields, store: { type: 'custom', backend: breakable(backends[name]) }, ...own[name] }
  }
  const visit = await startVisits(t, { clock, ...options, sessions })
  const calls = () => Object.fromEntries(Object.entries(backends).map(([name, { calls }]) => {
    return [name, calls.splice(0).join(' ')]
  }))
  return { visit, clock, backends, calls }
}

function breakable (backend: SessionBackend & { broken?: Error }): SessionBackend {
  return new Proxy(backend, {
    get (target, name) {
      const member = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return async (...args: unknown[]) => {
        if (target.broken !== undefined) throw target.broken
        return member.apply(target, args)
      }
    }
  })
}

const names = (response: LightMyRequestResponse) => {
  return setCookies(response).map(line => line.replace('__Host-', '').split('=')[0]).sort()
}

const dataOf = async (session: Session) => (await session.load()).data()

async function fill (session: Session) {
  await session.load()
  session.set('user', 'ada')
  session.set('token', 't1')
  session.set('cart', ['apple'])
}

test('M10 only the parts that were used reach their stores', async t => {
  const { visit, calls } = await startThree(t)
  t.strictSame(names(await visit(session => fill(session))), ['auth', 'csrf', 'rest'])
  t.strictSame(calls(), { auth: 'create', csrf: 'create', rest: 'create' })

  t.strictSame(names(await visit(() => {})), [])
  t.strictSame(calls(), { auth: '', csrf: '', rest: '' })

  await visit(async session => {
    await session.load(['token'])
    t.equal(session.get('token'), 't1')
    t.throws(() => session.get('cart'), { code: 'FST_SESSIONS_NOT_LOADED' })
    t.throws(() => session.keys(), { code: 'FST_SESSIONS_NOT_LOADED' })
    t.throws(() => session.id, { code: 'FST_SESSIONS_NOT_LOADED' })
    session.set('token', 't2')
    t.ok(session.isModified())
    t.notOk(session.isSaved())
  })
  t.strictSame(calls(), { auth: '', csrf: 'read update', rest: '' })

  await visit(async session => {
    await session.load()
    t.strictSame(session.data(), { user: 'ada', token: 't2', cart: ['apple'] })
    t.strictSame(session.keys(), ['user', 'token', 'cart'])
    t.ok(session.isSaved())
    ;(session.get('cart') as string[]).push('pear')
  })
  t.strictSame(calls(), { auth: 'read', csrf: 'read', rest: 'read update' })

  await visit(async session => {
    await Promise.all([session.load(['user', 'principal']), session.load(), session.load(['user'])])
    t.ok(session.has('user'))
    t.notOk(session.has('nothing'))
    t.equal(session.delete('user'), true)
    t.equal(session.update('visits', (n = 0) => Number(n) + 1), 1)
  })
  t.strictSame(calls(), { auth: 'read remove', csrf: 'read', rest: 'read update' })
})

test('the parts can be loaded before the handlers, each as it says', async t => {
  const { visit, calls } = await startThree(t, {}, { csrf: { load: 'eager' } })
  await visit(session => fill(session))
  calls()
  await visit(session => {
    t.equal(session.get('token'), 't1')
    t.throws(() => session.get('user'), { code: 'FST_SESSIONS_NOT_LOADED' })
  })
  t.strictSame(calls(), { auth: '', csrf: 'read', rest: '' })

  const all = await startThree(t, { load: 'eager' }, { rest: { load: 'lazy' } })
  await all.visit(session => fill(session))
  all.calls()
  all.backends.auth.broken = new Error('down')
  await all.visit(session => {
    t.equal(session.get('token'), 't1')
    t.throws(() => session.get('user'), { code: 'FST_SESSIONS_STORE', statusCode: 503 })
    t.throws(() => session.get('cart'), { code: 'FST_SESSIONS_NOT_LOADED' })
  })
  t.strictSame(all.calls(), { auth: '', csrf: 'read', rest: '' })
})

test('a route decides for all parts', async t => {
  const clock = new TestClock()
  const sessions = { a: { fields: ['x'] }, b: {}, c: { fields: ['y'], store: { type: 'null' } } }
  const app = await startApp(t, { clock, sessions }, app => {
    app.post('/', async ({ session }) => fill(session))
    app.get('/', { config: { session: 'eager' } }, async ({ session }) => session.data())
    app.get('/off', { config: { session: false } }, async ({ session }) => ({
      data: session.data(), new: session.isNew
    }))
    app.post('/off', { config: { session: false } }, async ({ session }) => session.set('x', 1))
    app.post('/only', { config: { session: { readOnly: true } } }, async ({ session }) => {
      (await session.load()).set('x', 1)
    })
    app.post('/nowhere', async ({ session }) => (await session.load()).set('y', 1))
  })
  const client = createClient(app)
  await client.inject({ method: 'POST', url: '/' })
  t.strictSame((await client.inject('/')).json(), { user: 'ada', token: 't1', cart: ['apple'] })
  const off = await client.inject('/off')
  t.strictSame(off.json(), { data: {}, new: true })
  t.equal(off.headers.vary, undefined)
  for (const [url, code] of [
    ['/off', 'FST_SESSIONS_DISABLED'], ['/only', 'FST_SESSIONS_READ_ONLY'], ['/nowhere', 'FST_SESSIONS_NO_STORE']
  ]) t.equal((await client.inject({ method: 'POST', url })).json().code, code)
})

test('M3 a foreign field in a record is ignored, and gone after the next write', async t => {
  const clock = new TestClock()
  const backend = await memoryBackend(clock)
  const values: string[] = []
  const watched: SessionBackend = {
    ...backend,
    async update (key, record, index, version) {
      values.push(String(record.value))
      return backend.update(key, record, index, version)
    }
  }
  const store = { type: 'custom', backend: watched }
  const before = await startVisits(t, { clock, sessions: { a: { store }, b: { fields: [] } } })
  const after = await startVisits(t, { clock, sessions: { a: { store }, b: { fields: ['x'] } } })
  const response = await before(async session => {
    await session.load()
    session.set('x', 'foreign')
    session.set('y', 'own')
  })
  const [cookie] = setCookies(response)[0].split(';')
  await inject(after, cookie, async session => {
    await session.load()
    t.strictSame(session.data(), { y: 'own' })
    t.equal(session.get('x'), undefined)
    session.set('y', 'changed')
  })
  t.strictSame(JSON.parse(values[0]).data, { y: 'changed' })
})

test('M3 a foreign field in a record or a cookie is dropped before the schema is asked', async t => {
  const clock = new TestClock()
  const secret = 's'.repeat(32)
  const schema = Type.Object({ y: Type.String() }, { additionalProperties: false })
  for (const store of [{ type: 'custom', backend: await memoryBackend(clock) }, { type: 'cookie' }]) {
    const before = await startVisits(t, { clock, secret, sessions: { a: { store }, b: { fields: [] } } })
    const after = await startVisits(t, { clock, secret, sessions: { a: { store, schema }, b: { fields: ['x'] } } })
    const [cookie] = setCookies(await before(async session => {
      await session.login('ada')
      Object.assign(session, { x: 'foreign', y: 'own' })
    }))[0].split(';')
    await inject(after, cookie, async session => {
      await session.load()
      t.strictSame([session.data(), session.principal], [{ y: 'own' }, 'ada'], store.type)
      session.set('y', 'changed')
    })
  }
})

test('M3 a record of one of several that cannot be read is no session', async t => {
  const { visit, backends: { auth } } = await startThree(t)
  const [, id] = setCookies(await visit(fill))[0].split(/[=;]/)
  const { version, ...record } = (await auth.read(sha256(id)))!
  const index = { principal: null, createdAt: 0, expiresAt: record.expiresAt }
  t.equal(await auth.update(sha256(id), { ...record, version: 'other', value: '{' }, index, version), 'ok')
  const corrupt = watch(t, 'corrupt')
  await visit(async session => t.strictSame(await dataOf(session), { token: 't1', cart: ['apple'] }))
  t.strictSame(corrupt.map(({ session }) => session), ['auth'])
})

/** A visit with this Cookie header in place of the client's. */
async function inject (visit: Visits, cookie: string, work: (session: Session) => unknown) {
  await visit.client.clear()
  let result: unknown
  const inject = visit.client.inject
  visit.client.inject = async () => visit.app.inject({ url: '/', headers: { cookie } })
  try {
    const response = await visit(async session => { result = await work(session) })
    return { response, result }
  } finally {
    visit.client.inject = inject
  }
}

for (const secret of [undefined, 's'.repeat(32)]) {
  const kind = secret ? 'signed' : 'plain'
  test(`M4 M5 ${kind}: the value of one cookie is nothing in another; one engine, same ids`, async t => {
    const clock = new TestClock()
    const directory = t.testdir()
    const store = { type: 'file', directory }
    const generator = () => {
      let n = 0
      return () => String(n++).padStart(32, '0')
    }
    const visit = await startVisits(t, {
      clock,
      ...secret && { secret },
      sessions: {
        a: { store, fields: ['x'], generateId: generator() }, b: { store, generateId: generator() }
      }
    })
    const response = await visit(async session => {
      await session.load()
      session.set('x', 'of a')
      session.set('y', 'of b')
    })
    const [a, b] = setCookies(response).map(line => line.split(';')[0].split('='))
    t.strictSame([a[0], b[0]], ['__Host-a', '__Host-b'])
    t.equal(a[1].split('.')[0], b[1].split('.')[0], 'the same id')
    await visit(async session => {
      await session.load()
      t.strictSame(session.data(), { x: 'of a', y: 'of b' })
      await session.part('a').destroy()
      t.notOk(session.has('x'))
    })
    const alone = await inject(visit, `__Host-b=${b[1]}`, dataOf)
    t.strictSame(alone.result, { y: 'of b' }, 'removed under one name only')
    const swapped = await inject(visit, `__Host-a=${b[1]}; __Host-b=${a[1]}`, dataOf)
    t.strictSame(swapped.result, secret ? {} : { y: 'of b' }, 'a is dead, and b is the same id here')
  })
}

test('M4 ids swapped between two cookies are unknown there', async t => {
  const { visit } = await startThree(t)
  const response = await visit(session => fill(session))
  const [auth, csrf, rest] = setCookies(response).map(line => line.split(';')[0].split('=')[1])
  const swapped = `__Host-auth=${rest}; __Host-csrf=${auth}; __Host-rest=${csrf}`
  const { result, response: answer } = await inject(visit, swapped, dataOf)
  t.strictSame(result, {})
  t.strictSame(setCookies(answer), [])
})

test('M6 the session with the rest saves, clears and logs out', async t => {
  const { visit, calls } = await startThree(t)
  await visit(async session => {
    await fill(session)
    await session.login('ada')
    await session.save()
    t.ok(session.isSaved())
    t.notOk(session.isModified())
    t.equal(session.principal, 'ada')
    t.equal(session.part('csrf').principal, null)
    t.equal(session.id, session.part('auth').id)
    t.not(session.id, session.part('rest').id)
    for (const name of ['createdAt', 'expiresAt', 'authenticatedAt'] as const) t.ok(session[name])
    t.notOk(session.isNew)
  })
  calls()
  t.strictSame(names(await visit(async session => {
    await session.load()
    session.clear()
    t.strictSame(session.data(), {})
  })), ['csrf', 'rest'], 'the login stays')
  await visit(session => fill(session))
  t.strictSame(names(await visit(session => session.logout())), ['auth', 'csrf', 'rest'])
  await visit(async session => t.strictSame((await session.load()).data(), {}))
})

test('M7 expiry, rotation and destruction, apart and together', async t => {
  const { visit, clock, calls } = await startThree(t, {}, { csrf: { idleTimeout: 60 } })
  const events = watch(t, 'created', 'rotated', 'destroyed')
  const told = () => events.splice(0).map(({ event, session }) => `${event} ${session}`).sort().join()
  await visit(session => fill(session))
  t.equal(told(), 'created auth,created csrf,created rest')
  clock.advance(60)
  await visit(async session => {
    await session.load()
    t.strictSame(session.data(), { user: 'ada', cart: ['apple'] }, 'csrf has expired alone')
    session.set('token', 't2')
  })
  told()

  t.strictSame(names(await visit(session => session.part('auth').regenerate())), ['auth'])
  t.equal(told(), 'rotated auth')
  t.strictSame(names(await visit(session => session.part('rest').destroy())), ['rest'])
  t.equal(told(), 'destroyed rest')
  await visit(session => fill(session))
  told()
  calls()
  t.strictSame(names(await visit(session => session.regenerate(['user', 'token']))), ['auth', 'csrf', 'rest'])
  t.equal(told(), 'rotated auth,rotated csrf,rotated rest')
  await visit(async session => t.strictSame((await session.load()).data(), { user: 'ada', token: 't1' }))

  t.strictSame(names(await visit(async session => {
    await session.login('ada')
    await session.part('rest').remember(1000)
    t.equal(session.principal, 'ada')
  })), ['auth', 'csrf', 'rest'])
  clock.advance(200)
  await visit(async session => {
    await session.load()
    await session.touch()
    session.set('cart', [])
    await session.reload()
    t.strictSame(session.data(), { user: 'ada' })
    t.notOk(session.has('cart'))
  })
  t.strictSame(names(await visit(session => session.remember(86400))), ['auth', 'rest'], 'of those that are stored')
})

test('M8 one store is down: only requests that use its fields fail', async t => {
  const { visit, backends, calls } = await startThree(t)
  await visit(session => fill(session))
  calls()
  backends.auth.broken = new Error('down')
  const ok = await visit(async session => {
    await session.load()
    t.equal(session.get('token'), 't1')
    t.throws(() => session.get('user'), { code: 'FST_SESSIONS_STORE', statusCode: 503 })
    t.throws(() => session.data(), { code: 'FST_SESSIONS_STORE' })
    t.throws(() => session.principal, { code: 'FST_SESSIONS_STORE' })
    session.set('cart', ['pear'])
  })
  t.equal(ok.statusCode, 200)
  t.strictSame(calls(), { auth: '', csrf: 'read', rest: 'read update' })
  await t.rejects(visit(session => session.load(['token', 'user'])), { code: 'FST_SESSIONS_STORE' })
  await t.rejects(visit(session => session.logout()), { code: 'FST_SESSIONS_STORE' })
  delete backends.auth.broken
  await visit(async session => {
    t.strictSame((await session.load()).keys(), ['user'], 'those that could be ended are')
  })
})

test('all stores are written before any cookie; when one fails, no cookie is set', async t => {
  const { visit, backends } = await startThree(t)
  const failed = await visit(async session => {
    await fill(session)
    backends.rest.broken = new Error('down')
  })
  t.equal(failed.statusCode, 503)
  t.strictSame(setCookies(failed), [])

  delete backends.rest.broken
  const saved = await visit(async (session, _request, reply) => {
    await fill(session)
    backends.rest.broken = new Error('down')
    await t.rejects(session.save(), { code: 'FST_SESSIONS_STORE' })
    t.equal(reply.getHeader('set-cookie'), undefined)
    delete backends.rest.broken
    await session.save()
    t.equal((reply.getHeader('set-cookie') as string[]).length, 3)
  })
  t.strictSame(names(saved), ['auth', 'csrf', 'rest'])
  t.equal(saved.headers.vary, 'Cookie')
})

test('a login that fails leaves the ids of the other parts alone', async t => {
  const { visit, backends } = await startThree(t)
  await visit(session => fill(session))
  const failed = await visit(async session => {
    await session.login('ada')
    backends.auth.broken = new Error('down')
  })
  t.equal(failed.statusCode, 503)
  t.strictSame(setCookies(failed), [])
  delete backends.auth.broken
  await visit(async session => {
    t.strictSame((await session.load()).data(), { user: 'ada', token: 't1', cart: ['apple'] })
    t.equal(session.principal, null)
  })
})

test('part() shows one session: its own fields, its own verbs', async t => {
  const { visit, calls } = await startThree(t)
  await visit(async session => {
    const auth = session.part('auth')
    t.equal(await auth.load(), auth)
    t.throws(() => session.part('csrf').get('token'), { code: 'FST_SESSIONS_NOT_LOADED' })
    auth.set('user', 'ada')
    t.throws(() => auth.set('cart', []), {
      code: 'FST_SESSIONS_FOREIGN_FIELD',
      message: "the field 'cart' belongs to the session 'rest'; write it there, or through request.session"
    })
    t.throws(() => auth.delete('token'), { code: 'FST_SESSIONS_FOREIGN_FIELD' })
    t.throws(() => auth.update('token', () => 1), { code: 'FST_SESSIONS_FOREIGN_FIELD' })
    t.equal(auth.get('cart'), undefined)
    t.equal(auth.has('cart'), false)
    t.strictSame(Object.keys(auth), ['user'])
    t.strictSame({ ...auth }, { user: 'ada' })
    t.equal(auth.part('auth'), auth)
    t.throws(() => auth.part('csrf'), { message: "there is no session 'csrf'; see the option sessions" })
    t.throws(() => session.part('nobody'), TypeError)
    await auth.save()
    t.equal(await auth.load(['cart']), auth, 'a foreign field needs nothing')
  })
  t.strictSame(calls(), { auth: 'create', csrf: '', rest: '' })

  const single = await startVisits(t)
  await single(async session => {
    t.equal(session.part('session'), session)
    t.throws(() => session.part('auth'), TypeError)
  })
})

test('console.log shows neither ids nor data', async t => {
  const { visit } = await startThree(t)
  await visit(async session => {
    t.equal(inspect(session),
      'auth: Session { not loaded }, csrf: Session { not loaded }, rest: Session { not loaded }')
    await session.load(['user'])
    session.set('user', 'ada')
    t.equal(inspect(session.part('auth')), "auth: Session { keys: [ 'user' ] }")
  })
})

const cartOf = (session: Session) => session.load().then(() => session.get('cart'))

test('M11 a part that is bound to another counts only beside the session that it was made for', async t => {
  const { visit, calls } = await startThree(t, {}, { rest: { bindTo: 'auth' } })
  const rejected = watch(t, 'rejected')
  const login = (user: string) => visit(async session => {
    await session.load()
    await session.login(user)
    session.set('user', user)
  })
  const valueOf = (response: LightMyRequestResponse, name: string) => {
    return setCookies(response).find(line => line.includes(`-${name}=`))?.split(';')[0] ?? ''
  }

  // Made before a login, it follows the login.
  await visit(async session => {
    await session.load(['cart'])
    session.set('cart', ['apple'])
  })
  calls()
  const ada = await login('ada')
  t.strictSame(names(ada), ['auth', 'rest'])
  await visit(async session => t.strictSame(await cartOf(session), ['apple']))

  // A new id of auth alone: what is bound to it is not read by the handler, and follows all the same.
  calls()
  const rotated = await visit(session => session.part('auth').regenerate())
  t.strictSame(names(rotated), ['auth', 'rest'])
  await visit(async session => t.strictSame(await cartOf(session), ['apple']))
  const cookie = `${valueOf(rotated, 'auth')}; ${valueOf(rotated, 'rest')}`

  // Alone or beside another it is nothing.
  const alone = await inject(visit, valueOf(rotated, 'rest'), cartOf)
  t.equal(alone.result, undefined)
  t.strictSame(rejected.map(({ session, reason }) => `${session} ${reason}`), ['rest bound'])
  const bob = await login('bob')
  const beside = `${valueOf(bob, 'auth')}; ${valueOf(rotated, 'rest')}`
  t.equal((await inject(visit, beside, cartOf)).result, undefined)
  t.strictSame((await inject(visit, cookie, cartOf)).result, ['apple'], 'beside its own it is there')

  // A write beside another makes a new one.
  const written = await inject(visit, beside, async session => {
    t.equal(await cartOf(session), undefined)
    session.set('cart', ['of bob'])
  })
  t.strictSame(names(written.response), ['rest'])
  t.strictSame((await inject(visit, cookie, cartOf)).result, ['apple'])

  // With a write it reads the other one first, which the handler did not.
  const unread = await inject(visit, cookie, async session => {
    await session.load(['cart'])
    session.set('cart', ['pear'])
  })
  t.strictSame(names(unread.response), [])
  t.strictSame((await inject(visit, cookie, cartOf)).result, ['pear'])

  // A failed request rotates all the same, and keeps the data as they were.
  calls()
  await inject(visit, cookie, async session => {
    await session.load()
    await session.part('auth').regenerate()
    session.set('cart', ['lost'])
    throw new Error('on purpose')
  }).catch(() => {})
  const after = await inject(visit, cookie, cartOf)
  t.equal(after.result, undefined, 'the ids of before are dead')
})

test('M11 what is bound to a session ends with it', async t => {
  const { visit, backends } = await startThree(t, {}, { rest: { bindTo: 'auth' }, csrf: { bindTo: 'auth' } })
  await visit(session => fill(session))
  t.equal(await backends.rest.count!(), 1)
  t.strictSame(names(await visit(session => session.part('auth').logout())), ['auth', 'csrf', 'rest'])
  for (const name of ['auth', 'csrf', 'rest']) t.equal(await backends[name].count!(), 0, name)

  await visit(async session => {
    await fill(session)
    await session.save()
    await session.part('auth').destroy()
    await session.save()
    t.strictSame(session.data(), {})
    session.set('cart', ['new'])
  })
  t.equal(await backends.rest.count!(), 1)
  await visit(async session => t.strictSame((await session.load()).data(), { cart: ['new'] }))
})

test('parts with the same connection options share one connection', { skip: noRedis }, async t => {
  const { url, port } = await startRedis(t)
  const store = { type: 'redis', options: { port, connectionName: 'shared' } }
  const other = { type: 'redis', options: { port, connectionName: 'other' } }
  const visit = await startVisits(t, {
    sessions: { a: { store, fields: ['x'] }, b: { store }, c: { store: other, fields: ['y'] } }
  })
  await visit(async session => {
    await session.load()
    session.set('x', 1)
    session.set('y', 2)
    session.set('z', 3)
  })
  await visit(async session => t.strictSame((await session.load()).data(), { x: 1, z: 3, y: 2 }))
  const { Redis } = await import('ioredis')
  const client = new Redis(url)
  t.teardown(() => client.disconnect())
  const list = String(await client.call('CLIENT', 'LIST'))
  t.strictSame(list.match(/name=\w+/g)?.sort(), ['name=other', 'name=shared'])
})

test('a store by value can serve several parts', async t => {
  const store = memoryStore()
  const visit = await startVisits(t, { store, sessions: { a: { fields: ['x'] }, b: {} } })
  await visit(async session => {
    await session.load()
    session.set('x', 1)
    session.set('y', 2)
  })
  await visit(async session => t.strictSame((await session.load()).data(), { x: 1, y: 2 }))
})
