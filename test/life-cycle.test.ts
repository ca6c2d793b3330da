import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { test } from 'tap'
import { NEVER } from '../lib/base/clock.js'
import { DriverError } from '../lib/errors.js'
import { sha256 } from '../lib/base/id.js'
import type { Session, SessionOptions } from '../lib/index.js'
import { TestClock } from '../lib/testing/clock.js'
import type { RecordIndex } from '../types/store.js'
import { startApp } from './helpers/app.js'
import { around, counting, gated, memoryBackend } from './helpers/backends.js'
import { cookieOf, setCookies, startStage, watch } from './helpers/stage.js'
import type { Script } from './helpers/stage.js'

type Verb = 'read' | 'create' | 'update' | 'touch' | 'remove'

const read: Script = session => session.data()
const count: Script = session => session.update('visits', (n = 0) => n + 1)
const destroy: Script = session => session.destroy()
const facts: Script = ({ createdAt, expiresAt, authenticatedAt, principal }) =>
  ({ createdAt, expiresAt, authenticatedAt, principal })

const DELETED = /^__Host-session=; Max-Age=0; /
const YEAR = 365 * 86400
const keyOf = (cookie: string) => sha256(cookie.split('=')[1].split('.')[0])

/** An application on a backend that is counted, whose verbs in `broken` fail, and a clock. */
async function start (t: Parameters<typeof startStage>[0], options: SessionOptions = {}) {
  const clock = new TestClock()
  const memory = await memoryBackend(clock)
  const broken = new Set<Verb>()
  const backend = counting(around(memory, async (verb, call) => {
    if (broken.has(verb)) throw new Error('the engine is down')
    return call()
  }))
  const stage = await startStage(t, { store: { type: 'custom', backend }, clock, ...options })
  return { ...stage, memory, backend, broken, clock, calls: () => backend.calls.splice(0) }
}

/** A promise that the test settles. */
function deferred () {
  let resolve = () => {}
  const promise = new Promise<void>(_resolve => { resolve = _resolve })
  return { promise, resolve }
}

const alive = async (visit: Awaited<ReturnType<typeof start>>['visit'], cookie: string) =>
  (await visit(cookie, session => !session.isNew)).json() as boolean

test('L1 regenerate() gives a new id at commit, keeps the data and createdAt', async t => {
  const { visit, memory, clock } = await start(t)
  const old = cookieOf(await visit('', session => { session.set('visits', 7); session.cart = ['apple'] }))
  const before = (await visit(old, facts)).json()
  clock.advance(10)

  const response = await visit(old, async session => {
    const id = session.id
    await session.regenerate()
    session.set('visits', 8)
    return id === session.id && session.get('cart')
  })
  t.same(response.json(), ['apple'], 'the new id comes at commit')
  const renewed = cookieOf(response)
  t.not(renewed, old)
  t.equal(await memory.count!(), 1)
  t.notOk(await alive(visit, old))
  t.same((await visit(renewed, read)).json(), { visits: 8, cart: ['apple'] })
  t.match((await visit(renewed, facts)).json(), { ...before, expiresAt: clock.now() + 1_800_000 })
})

test('L1 regenerate() keeps the keys named', async t => {
  const { visit } = await start(t)
  const fill: Script = session => {
    session.set('visits', 7)
    session.cart = ['apple']
    session.set('other', 1)
  }
  const cases: Array<[string[], object]> = [
    [['visits', 'cart', 'unknown'], { visits: 7, cart: ['apple'] }], [['visits'], { visits: 7 }], [[], {}]
  ]
  for (const [keys, kept] of cases) {
    const old = cookieOf(await visit('', fill))
    const renewed = cookieOf(await visit(old, session => session.regenerate(keys)))
    t.same((await visit(renewed, read)).json(), kept)
    t.notOk(await alive(visit, old))
    t.ok(await alive(visit, renewed))
  }
})

test('L2 the new record is stored before the old one is removed', async t => {
  const clock = new TestClock()
  const backend = gated(await memoryBackend(clock))
  const { visit } = await startStage(t, { store: { type: 'custom', backend }, clock })
  const old = cookieOf(await visit('', count))

  backend.held.add('create').add('remove')
  const answer = visit(old, session => session.login('ada'))
  const create = await backend.next()
  t.equal(create.verb, 'create')
  t.ok(await alive(visit, old))
  await create.release()
  const remove = await backend.next()
  t.equal(remove.verb, 'remove')
  t.ok(await alive(visit, old), 'the old one works until the new one is there')
  t.equal(await backend.count!(), 2)
  await remove.release()
  const renewed = cookieOf(await answer)
  t.notOk(await alive(visit, old))
  t.ok(await alive(visit, renewed))
})

test('L2 a failure in between leaves the one that works, and the response tells which', async t => {
  for (const failing of ['create', 'remove'] as const) {
    const { visit, broken } = await start(t)
    const old = cookieOf(await visit('', count))
    broken.add(failing)
    const scripts: Script[] = [session => session.regenerate(), session => session.login('ada')]
    for (const script of scripts) {
      const response = await visit(old, script)
      t.equal(response.statusCode, 503, failing)
      t.same(setCookies(response), [], 'the browser goes on with the old id')
      t.same((await visit(old, facts)).json().principal, null)
      t.same((await visit(old, read)).json(), { visits: 1 })
    }
    broken.clear()
    const renewed = cookieOf(await visit(old, session => session.login('ada')))
    t.ok(await alive(visit, renewed), 'when the store is back it goes on')
    t.notOk(await alive(visit, old))
  }
})

test('L2 what a failed rotation had stored is removed again', async t => {
  const memory = await memoryBackend()
  let failures = 0
  const backend = around(memory, async (verb, call) => {
    if (verb === 'remove' && failures-- > 0) throw new Error('the engine stumbled')
    return call()
  })
  const { visit } = await startStage(t, { store: { type: 'custom', backend } })
  const old = cookieOf(await visit('', count))
  failures = 1
  t.equal((await visit(old, session => session.regenerate())).statusCode, 503)
  t.equal(await memory.count!(), 1)
  t.ok(await alive(visit, old))
})

test('L3 login() rotates, notes whose session it is and since when', async t => {
  const { visit, backend, clock, memory } = await start(t)
  const indexes: RecordIndex[] = []
  const { create } = backend
  backend.create = (key, record, index) => {
    indexes.push({ principal: index.principal, createdAt: index.createdAt })
    return create(key, record, index)
  }
  const old = cookieOf(await visit('', count))
  t.same((await visit(old, facts)).json(), {
    createdAt: clock.now(), expiresAt: clock.now() + 1_800_000, authenticatedAt: null, principal: null
  })
  clock.advance(100)
  const response = await visit(old, async session => {
    await session.login('ada')
    return facts(session, null as never, null as never)
  })
  t.match(response.json(), { principal: 'ada', authenticatedAt: clock.now() }, 'known at once')
  const now = clock.now()
  const cookie = cookieOf(response)
  t.not(cookie, old)
  t.notOk(await alive(visit, old))
  const expected = { createdAt: now, expiresAt: now + 1_800_000, authenticatedAt: now, principal: 'ada' }
  t.same((await visit(cookie, facts)).json(), expected)
  t.same((await visit(cookie, read)).json(), { visits: 1 }, 'the data stay')
  t.same(indexes.at(-1), { principal: 'ada', createdAt: now }, 'the store indexes it')
  const keys = []
  for await (const { key } of memory.keysOf!('ada')) keys.push(key)
  t.same(keys, [keyOf(cookie)])

  clock.advance(100)
  const again = cookieOf(await visit(cookie, session => session.login('ada')))
  t.not(again, cookie, 'the same principal rotates as well')
  t.equal((await visit(again, facts)).json().authenticatedAt, clock.now())
})

test('L3 one write logs a new visitor in, and an empty session of a principal is kept', async t => {
  const { visit, calls } = await start(t)
  const cookie = cookieOf(await visit('', session => session.login('ada')))
  t.same(calls(), ['create'])
  t.equal((await visit(cookie, facts)).json().principal, 'ada')
  t.same(setCookies(await visit(cookie, session => session.clear())), [])
  await visit(cookie, count)
  t.same(setCookies(await visit(cookie, session => session.clear())), [])
  t.equal((await visit(cookie, facts)).json().principal, 'ada')
})

test('L3 the principal is set by login() alone, and names of users are free', async t => {
  const { visit } = await start(t)
  const cookie = cookieOf(await visit('', async session => {
    const fields = session as unknown as Record<string, unknown>
    for (const name of ['principal', 'authenticatedAt', 'createdAt', 'id', 'login']) {
      t.throws(() => { fields[name] = 'ada' }, { code: 'FST_SESSIONS_RESERVED_NAME' }, name)
      session.set(name, 'a field')
    }
    for (const name of ['user', 'userId', 'cart', 'views', 'token', 'email', 'roles']) fields[name] = 'mine'
    for (const bad of ['', 0, null, undefined, {}, ['ada']]) {
      await t.rejects(session.login(bad as string), TypeError)
    }
  }))
  t.match((await visit(cookie, read)).json(), { user: 'mine', userId: 'mine', principal: 'a field' })
  t.match((await visit(cookie, facts)).json(), { principal: null, authenticatedAt: null })
})

test('L4 logout() removes from the store, then expires the cookie', async t => {
  for (const verb of ['logout', 'destroy'] as const) {
    const clock = new TestClock()
    const backend = gated(await memoryBackend(clock))
    const { visit } = await startStage(t, { store: { type: 'custom', backend }, clock })
    const cookie = cookieOf(await visit('', session => session.login('ada')))
    backend.held.add('remove')
    let answered = false
    const answer = visit(cookie, async session => {
      await session[verb]()
      return facts(session, null as never, null as never)
    }).finally(() => { answered = true })
    const remove = await backend.next('remove')
    t.ok(await alive(visit, cookie))
    t.notOk(answered, 'no answer before the store has')
    await remove.release()
    const response = await answer
    t.equal(response.json().principal, null)
    t.match(setCookies(response), [DELETED])
    t.same(await backend.read(keyOf(cookie)), null)

    const replayed = await visit(cookie, read)
    t.same(replayed.json(), {})
    t.same(setCookies(replayed), [])
    const again = await visit(cookie, session => session[verb]())
    t.match(setCookies(again), [DELETED], 'who logs out is logged out, whatever the cookie was')
  }
})

test('L4 logout() with a cookie that is no session: it is deleted, and no store is written', async t => {
  const { visit, clock, calls } = await start(t)
  const ended = cookieOf(await visit('', count))
  await visit(ended, session => session.login('ada'))
  const expired = cookieOf(await visit('', count))
  clock.advance(1800)
  for (const cookie of [ended, expired, '__Host-session=malformed']) {
    calls()
    const response = await visit(cookie, destroy)
    t.equal(response.statusCode, 200)
    t.match(setCookies(response), [DELETED])
    t.same(calls(), cookie === '__Host-session=malformed' ? [] : ['read'])
    const undone = await visit(cookie, async session => { await session.destroy(); await session.reload() })
    t.same(setCookies(undone), [])
    const anew = await visit(cookie, async session => { await session.destroy(); session.set('visits', 7) })
    t.same((await visit(cookieOf(anew), read)).json(), { visits: 7 })
  }
})

test('L4 a store that cannot remove: an error, no Set-Cookie, and the session lives', async t => {
  const { visit, broken } = await start(t)
  const cookie = cookieOf(await visit('', session => session.login('ada')))
  broken.add('remove')
  const response = await visit(cookie, destroy)
  t.equal(response.statusCode, 503)
  t.equal(response.json().code, 'FST_SESSIONS_STORE')
  t.same(setCookies(response), [])
  broken.clear()
  t.ok(await alive(visit, cookie))
})

const slowVerbs: Record<string, Script> = {
  write: count,
  touch: session => session.touch(),
  regenerate: session => session.regenerate(),
  'regenerate with a write': session => {
    session.set('visits', 9)
    return session.regenerate()
  },
  login: session => session.login('mallory'),
  remember: session => session.remember(),
  destroy,
  'delete the last key': session => session.clear()
}

for (const [what, slow] of Object.entries(slowVerbs)) {
  test(`L5 a slower request (${what}) does not bring a destroyed session back`, async t => {
    const { visit, memory } = await start(t)
    const cookie = cookieOf(await visit('', count))
    const [loaded, proceed] = [deferred(), deferred()]
    const answer = visit(cookie, async (session, ...rest) => {
      loaded.resolve()
      await proceed.promise
      await slow(session, ...rest)
    })
    await loaded.promise
    t.match(setCookies(await visit(cookie, destroy)), [DELETED])
    const events = watch(t, 'gone', 'rotated', 'destroyed', 'created')
    proceed.resolve()
    const response = await answer
    t.equal(response.statusCode, /login|remember/.test(what) ? 409 : 200)
    if (what === 'destroy') t.match(setCookies(response), [DELETED])
    else t.same(setCookies(response), [])
    t.equal(await memory.count!(), 0)
    t.notOk(await alive(visit, cookie))
    t.same(events, [{ event: 'gone', session: 'session', hash: keyOf(cookie) }])
  })

  test(`L5 a slower request (${what}) leaves a rotated session alone`, async t => {
    const { visit, memory } = await start(t)
    const cookie = cookieOf(await visit('', count))
    const [loaded, proceed] = [deferred(), deferred()]
    const answer = visit(cookie, async (session, ...rest) => {
      loaded.resolve()
      await proceed.promise
      await slow(session, ...rest)
    })
    await loaded.promise
    const rotated = cookieOf(await visit(cookie, session => session.login('ada')))
    const stored = await memory.read(keyOf(rotated))
    proceed.resolve()
    const told = setCookies(await answer)
    if (what === 'destroy') t.match(told, [DELETED], 'who logs out is logged out')
    else t.same(told, [], 'the new cookie is not overwritten')
    t.same(await memory.read(keyOf(rotated)), stored)
    t.equal(await memory.count!(), 1)
  })
}

test('L6 an empty session is never stored, and reading sets no cookie', async t => {
  const { visit, calls } = await start(t)
  const scripts: Record<string, Script> = {
    read,
    nothing: () => 'ok',
    'set and delete': session => { session.set('visits', 1); session.delete('visits') },
    'set and clear': session => { session.set('visits', 1); session.clear() },
    'set undefined': session => session.set('visits', undefined),
    'update to nothing': session => session.update('visits', () => undefined),
    regenerate: session => session.regenerate(),
    touch: session => session.touch(),
    remember: session => session.remember(),
    destroy,
    'set and destroy': session => { session.set('visits', 1); return session.destroy() },
    'login and destroy': async session => { await session.login('ada'); await session.destroy() },
    save: session => session.save()
  }
  for (const [what, script] of Object.entries(scripts)) {
    const response = await visit('', script)
    t.equal(response.statusCode, 200, what)
    t.same(setCookies(response), [], what)
    t.same(calls(), [], what)
  }
  const cookie = cookieOf(await visit('', session => { session.cart = [] }))
  calls()
  t.same(setCookies(await visit(cookie, read)), [])
  t.same(calls(), ['read'])
})

test('L7 the idle timeout holds at read, whatever the store and the cookie say', async t => {
  const clock = new TestClock()
  const backend = await memoryBackend(new TestClock(0))
  const { visit } = await startStage(t, {
    store: { type: 'custom', backend },
    clock,
    idleTimeout: 100,
    touchInterval: 0,
    cookie: { persistent: true }
  })
  const cookie = cookieOf(await visit('', count))
  clock.advance(99.999)
  t.ok(await alive(visit, cookie))
  clock.advance(99.999)
  t.ok(await alive(visit, cookie), 'activity moves the end')
  t.not(await backend.read(keyOf(cookie)), null)
  clock.advance(100)
  t.not(await backend.read(keyOf(cookie)), null, 'the store still has it')
  t.notOk(await alive(visit, cookie), 'at the instant itself it is over')
  t.notOk(await alive(visit, cookie))
})

test('L8 the absolute timeout counts from createdAt, and nothing but login() moves it', async t => {
  const verbs: Record<string, Script> = {
    activity: read,
    write: count,
    touch: session => session.touch(),
    regenerate: session => session.regenerate(),
    'regenerate some keys': session => session.regenerate(['visits'])
  }
  const timeouts = { idleTimeout: 60, absoluteTimeout: 200, touchInterval: 0 }
  for (const [what, script] of Object.entries(verbs)) {
    const { visit, clock, memory } = await start(t, timeouts)
    const created = clock.now()
    let cookie = cookieOf(await visit('', count))
    for (let n = 0; n < 4; n++) {
      clock.advance(49)
      const response = await visit(cookie, script)
      if (setCookies(response).length > 0) cookie = cookieOf(response)
      t.ok(await alive(visit, cookie), what)
      const { expiresAt } = (await memory.read(keyOf(cookie)))!
      t.equal(expiresAt, Math.min(created + 200_000, clock.now() + 60_000), what)
    }
    t.equal((await visit(cookie, facts)).json().createdAt, created, what)
    clock.advance(4)
    t.notOk(await alive(visit, cookie), what)
  }

  const { visit, clock } = await start(t, timeouts)
  let cookie = cookieOf(await visit('', count))
  clock.advance(50)
  cookie = cookieOf(await visit(cookie, session => session.login('ada')))
  const loggedIn = clock.now()
  for (let n = 0; n < 3; n++) {
    clock.advance(50)
    t.ok(await alive(visit, cookie))
  }
  t.same((await visit(cookie, facts)).json().createdAt, loggedIn)
  clock.advance(49.999)
  t.ok(await alive(visit, cookie))
  clock.advance(0.001)
  t.notOk(await alive(visit, cookie))
})

test('L8 a shorter absolute timeout holds for sessions that exist already', async t => {
  const clock = new TestClock()
  const store = { type: 'custom', backend: await memoryBackend(clock) }
  const before = await startStage(t, { store, clock })
  const after = await startStage(t, { store, clock, absoluteTimeout: 60 })
  const cookie = cookieOf(await before.visit('', count))
  clock.advance(60)
  const events = watch(t, 'rejected')
  t.ok(await alive(before.visit, cookie))
  t.notOk(await alive(after.visit, cookie))
  t.match(events, [{ reason: 'expired', hash: keyOf(cookie) }])
})

test('L9 either timeout, and both, can be switched off', async t => {
  const never = await start(t, { idleTimeout: null, absoluteTimeout: null })
  const cookie = cookieOf(await never.visit('', count))
  t.equal((await never.visit(cookie, facts)).json().expiresAt, NEVER)
  never.calls()
  never.clock.advance(100 * YEAR)
  t.ok(await alive(never.visit, cookie))
  t.same(never.calls(), ['read'], 'there is nothing to touch')

  const idleOnly = await start(t, { absoluteTimeout: null })
  const used = cookieOf(await idleOnly.visit('', count))
  for (let n = 0; n < 100; n++) {
    idleOnly.clock.advance(1799)
    await idleOnly.visit(used, read)
  }
  t.ok(await alive(idleOnly.visit, used))
  idleOnly.clock.advance(1800)
  t.notOk(await alive(idleOnly.visit, used))

  const absoluteOnly = await start(t, { idleTimeout: null })
  const unused = cookieOf(await absoluteOnly.visit('', count))
  absoluteOnly.clock.advance(43199)
  t.ok(await alive(absoluteOnly.visit, unused))
  absoluteOnly.clock.advance(1)
  t.notOk(await alive(absoluteOnly.visit, unused))
})

test('L10 activity is noted at most once per touchInterval, and moves the expiry only', async t => {
  const { visit, calls, clock, memory } = await start(t)
  const cookie = cookieOf(await visit('', count))
  const before = (await memory.read(keyOf(cookie)))!
  calls()
  clock.advance(59.999)
  await visit(cookie, read)
  t.same(calls(), ['read'])
  clock.advance(0.001)
  for (let n = 0; n < 3; n++) {
    const response = await visit(cookie, read)
    t.same(setCookies(response), [])
  }
  t.same(calls(), ['read', 'touch', 'read', 'read'])
  t.same(await memory.read(keyOf(cookie)), { ...before, expiresAt: clock.now() + 1_800_000 })

  clock.advance(1)
  await visit(cookie, session => session.touch())
  t.same(calls(), ['read', 'touch'], 'touch() does not wait')
  t.same(await memory.read(keyOf(cookie)), { ...before, expiresAt: clock.now() + 1_800_000 })

  clock.advance(-3600)
  await visit(cookie, read)
  t.same(calls(), ['read'], 'a clock that was set back shortens nothing')
})

test('L10 touchInterval: 0 notes each activity, but never writes what does not move', async t => {
  const { visit, calls, clock } = await start(t, { touchInterval: 0 })
  const cookie = cookieOf(await visit('', count))
  calls()
  await visit(cookie, read)
  t.same(calls(), ['read'])
  clock.advance(0.001)
  await visit(cookie, read)
  t.same(calls(), ['read', 'touch'])
})

test('L10 an interval near the idle timeout does not log active users out', async t => {
  const { visit, clock } = await start(t, { idleTimeout: 60, touchInterval: 60 })
  const cookie = cookieOf(await visit('', count))
  for (let seconds = 0; seconds < 300; seconds += 5) {
    clock.advance(5)
    t.same((await visit(cookie, read)).json(), { visits: 1 })
  }
})

test('L7 L8 whole milliseconds reach the store, whatever the durations, and never more than it can keep', async t => {
  const { visit, clock } = await start(t, { idleTimeout: 100 / 3 })
  const cookie = cookieOf(await visit('', count))
  t.equal((await visit(cookie, facts)).json().expiresAt, clock.now() + 33_333)
  const forever = cookieOf(await visit('', session => { session.set('visits', 1); return session.remember(1e300) }))
  t.equal((await visit(forever, facts)).json().expiresAt, Date.UTC(9999, 11, 31, 23, 59, 59))
})

test('L10 a touch that finds nothing is ignored', async t => {
  const { visit, backend, clock } = await start(t, { cookie: { persistent: true } })
  const cookie = cookieOf(await visit('', count))
  clock.advance(60)
  const events = watch(t, 'gone')
  backend.touch = async () => false
  const response = await visit(cookie, read)
  t.equal(response.statusCode, 200)
  t.same(response.json(), { visits: 1 })
  t.same(setCookies(response), [])
  t.same(events, [{ event: 'gone', session: 'session', hash: keyOf(cookie) }])
})

test('L10 a touch never goes past the absolute limit', async t => {
  const { visit, calls, clock, memory } = await start(t, {
    idleTimeout: 100, absoluteTimeout: 150, touchInterval: 10
  })
  const end = clock.now() + 150_000
  const cookie = cookieOf(await visit('', count))
  calls()
  clock.advance(90)
  await visit(cookie, read)
  t.same(calls(), ['read', 'touch'])
  t.equal((await memory.read(keyOf(cookie)))!.expiresAt, end)
  clock.advance(50)
  await visit(cookie, read)
  t.same(calls(), ['read'], 'there it does not move any more')
  await visit(cookie, session => session.touch())
  t.equal((await memory.read(keyOf(cookie)))!.expiresAt, end)
})

test('L11 remember() gives a persistent cookie and a longer life, for this session', async t => {
  const { visit, clock, calls } = await start(t, { rememberFor: 7 * 86400 })
  const other = cookieOf(await visit('', count))
  const anonymous = cookieOf(await visit('', count))
  const response = await visit(anonymous, async session => {
    await session.login('ada')
    await session.remember()
  })
  const cookie = cookieOf(response)
  const end = clock.now() + 7 * 86_400_000
  t.not(cookie, anonymous)
  t.match(setCookies(response)[0], `${cookie}; Max-Age=604800; `)
  t.notMatch(setCookies(await visit('', count))[0], 'Max-Age', 'others stay as they are')

  clock.advance(3 * 86400)
  calls()
  t.ok(await alive(visit, cookie), 'longer than both timeouts')
  t.notOk(await alive(visit, other))
  t.same(calls(), ['read', 'read'], 'activity does not move a fixed end')
  t.same((await visit(cookie, facts)).json().expiresAt, end)

  const rotated = await visit(cookie, session => session.regenerate())
  t.match(setCookies(rotated)[0], `Max-Age=${4 * 86400}; `, 'nor does a rotation')
  clock.advance(4 * 86400 - 1)
  t.ok(await alive(visit, cookieOf(rotated)))
  clock.advance(1)
  t.notOk(await alive(visit, cookieOf(rotated)))
})

test('L11 remember() takes seconds, and stands alone', async t => {
  const { visit, clock } = await start(t)
  const cookie = cookieOf(await visit('', count))
  const response = await visit(cookie, session => session.remember(90000))
  t.not(cookieOf(response), cookie, 'with a new id')
  t.match(setCookies(response)[0], 'Max-Age=90000; ')
  t.equal((await visit(cookieOf(response), facts)).json().expiresAt, clock.now() + 90_000_000)

  const longest = await visit('', session => { session.set('visits', 1); return session.remember() })
  t.match(setCookies(longest)[0], `Max-Age=${30 * 86400}; `, '30 days unless configured')

  await visit('', async session => {
    for (const bad of [0, -1, NaN, Infinity, '5', null, {}]) {
      await t.rejects(session.remember(bad as number), TypeError, inspect(bad))
    }
  })
})

test('L11 who logs in later does not inherit the long life', async t => {
  const { visit } = await start(t)
  const remembered = cookieOf(await visit('', async session => {
    await session.login('ada')
    await session.remember()
  }))
  const response = await visit(remembered, session => session.login('grace'))
  t.notMatch(setCookies(response)[0], 'Max-Age')
  const { createdAt, expiresAt } = (await visit(cookieOf(response), facts)).json()
  t.equal(expiresAt, createdAt + 1_800_000)
})

test('L12 removing the last key destroys the record and the cookie', async t => {
  const ways: Record<string, Script> = {
    'delete()': session => session.delete('visits'),
    delete: session => { delete session.visits },
    'set undefined': session => session.set('visits', undefined),
    'clear()': session => session.clear(),
    'update()': session => session.update('visits', () => undefined)
  }
  for (const [how, script] of Object.entries(ways)) {
    const { visit, calls, memory } = await start(t)
    const cookie = cookieOf(await visit('', count))
    calls()
    const events = watch(t, 'destroyed')
    t.match(setCookies(await visit(cookie, script)), [DELETED], how)
    t.same(calls(), ['read', 'remove'], how)
    t.equal(await memory.count!(), 0, how)
    t.match(events, [{ hash: keyOf(cookie) }], how)
  }

  const { visit } = await start(t)
  const cookie = cookieOf(await visit('', session => { session.set('visits', 1); session.cart = [] }))
  const response = await visit(cookie, session => session.delete('visits'))
  t.same(setCookies(response), [], 'not while another is left')
  t.ok(await alive(visit, cookie))
})

test('L13 setting an equal value is not a change', async t => {
  const { visit, calls } = await start(t)
  const cookie = cookieOf(await visit('', session => {
    session.set('visits', 1)
    session.set('other', { a: [1, { b: null }] })
    session.cart = ['apple']
  }))
  calls()
  const scripts: Script[] = [
    session => session.set('visits', 1),
    session => session.set('other', { a: [1, { b: null }] }),
    session => { session.cart = [...session.cart!] },
    session => { session.set('visits', 2); session.set('visits', 1) },
    session => { session.cart!.push('pear'); session.cart!.pop() },
    session => session.update('visits', n => n),
    session => { session.delete('visits'); session.set('visits', 1) },
    session => { session.set('unknown', 1); session.delete('unknown') },
    session => session.delete('unknown')
  ]
  for (const script of scripts) {
    t.equal((await visit(cookie, script)).statusCode, 200)
    t.same(calls(), ['read'], script.toString())
  }
})

test('L14 a change deep inside is a change', async t => {
  interface Deep { list: Array<{ n?: number }>, map: Record<string, unknown> }
  const { visit, calls } = await start(t)
  const deep = (session: Session) => session.get('deep') as Deep
  const scripts: Array<[Script, object]> = [
    [session => deep(session).list.push({ n: 2 }), { list: [{ n: 1 }, { n: 2 }], map: { a: 1 } }],
    [session => { deep(session).list[0].n = 5 }, { list: [{ n: 5 }, { n: 2 }], map: { a: 1 } }],
    [session => { delete deep(session).list[0].n }, { list: [{}, { n: 2 }], map: { a: 1 } }],
    [session => { deep(session).map.b = { c: {} } }, { list: [{}, { n: 2 }], map: { a: 1, b: { c: {} } } }],
    [session => { Object.assign(deep(session).map.b as object, { d: 1 }) },
      { list: [{}, { n: 2 }], map: { a: 1, b: { c: {}, d: 1 } } }],
    [session => { delete deep(session).map.a }, { list: [{}, { n: 2 }], map: { b: { c: {}, d: 1 } } }],
    [session => deep(session).list.reverse(), { list: [{ n: 2 }, {}], map: { b: { c: {}, d: 1 } } }],
    [session => { deep(session).list.length = 0 }, { list: [], map: { b: { c: {}, d: 1 } } }]
  ]
  const first = { list: [{ n: 1 }], map: { a: 1 } }
  const cookie = cookieOf(await visit('', session => session.set('deep', first)))
  for (const [script, expected] of scripts) {
    calls()
    await visit(cookie, script)
    t.same(calls(), ['read', 'update'], script.toString())
    t.same((await visit(cookie, read)).json(), { deep: expected }, script.toString())
  }
})

test('L15 destroy(), then set: a new session under a new id', async t => {
  const { visit, memory, clock } = await start(t)
  const cookie = cookieOf(await visit('', async session => {
    session.cart = ['apple']
    await session.login('ada')
  }))
  clock.advance(10)
  const events = watch(t, 'destroyed', 'created')
  const response = await visit(cookie, async session => {
    await session.destroy()
    t.same(session.data(), {})
    t.equal(session.isNew, true)
    session.set('visits', 1)
  })
  const renewed = cookieOf(response)
  t.not(renewed, cookie)
  t.notOk(await alive(visit, cookie))
  t.same((await visit(renewed, read)).json(), { visits: 1 })
  t.match((await visit(renewed, facts)).json(), {
    principal: null, authenticatedAt: null, createdAt: clock.now()
  })
  t.equal(await memory.count!(), 1)
  t.match(events, [{ event: 'destroyed', hash: keyOf(cookie) }, { event: 'created', hash: keyOf(renewed) }])
})

test('L17 save() commits now, and later changes are committed too', async t => {
  const { visit, memory, calls } = await start(t)
  const response = await visit('', async (session, _request, reply) => {
    session.set('visits', 1)
    t.equal(session.isSaved(), false)
    await session.save()
    t.equal(session.isSaved(), true)
    const line = String(reply.getHeader('set-cookie'))
    t.match(line, /^__Host-session=[\w-]{43}; /)
    t.not(await memory.read(keyOf(line.split(';')[0])), null)
    session.set('visits', 2)
    return line.split(';')[0]
  })
  t.equal(cookieOf(response), response.payload)
  t.same(calls(), ['create', 'update'])
  t.same((await visit(cookieOf(response), read)).json(), { visits: 2 })

  calls()
  await visit(cookieOf(response), async session => {
    await session.save()
    session.set('visits', 3)
    await session.save()
    await session.save()
  })
  t.same(calls(), ['read', 'update'], 'without changes there is nothing to do')
})

/** A request through a real socket: what is sent after the headers is not to be seen with inject(). */
async function fetchFrom (app: Awaited<ReturnType<typeof startApp>>, path: string) {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    httpRequest({ port, path, agent: false }, resolve).on('error', reject).end()
  })
  return { headers: response.headers, body: await text(response) }
}

test('L17 save() before hijack(): the cookie is among the headers of the reply', async t => {
  const backend = await memoryBackend()
  const late: unknown[] = []
  const app = await startApp(t, { store: { type: 'custom', backend } }, app => {
    app.get('/events', async (request, reply) => {
      const session = await request.session.load()
      session.set('visits', 1)
      await session.save()
      reply.hijack()
      const headers = reply.getHeaders() as Record<string, string>
      reply.raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream' })
      reply.raw.write('data: 1\n\n')
      try { session.set('visits', 2) } catch (error) { late.push(error) }
      reply.raw.end()
    })
  })
  const { headers, body } = await fetchFrom(app, '/events')
  t.equal(body, 'data: 1\n\n')
  t.match(headers['set-cookie'], [/^__Host-session=/])
  t.equal(headers.vary, 'Cookie')
  t.equal(headers['cache-control'], 'no-store')
  t.equal(await backend.count!(), 1)
  t.match(late, [{ code: 'FST_SESSIONS_HEADERS_SENT' }])
})

test('L18 a change after the headers were sent is an error that says so', async t => {
  const { visit, calls } = await start(t)
  const cookie = cookieOf(await visit('', session => { session.set('visits', 1); session.cart = ['apple'] }))
  let session: Session | undefined
  await visit(cookie, it => { session = it })
  calls()
  const kept = session!
  const message = 'the session was changed after the response was on its way; change it earlier, or call ' +
    'session.save() before'
  const late = { code: 'FST_SESSIONS_HEADERS_SENT', message }
  t.throws(() => kept.set('visits', 2), late)
  t.throws(() => { kept.visits = 2 }, late)
  t.throws(() => { delete kept.visits }, late)
  t.throws(() => kept.delete('visits'), late)
  t.throws(() => kept.clear(), late)
  t.throws(() => kept.update('visits', () => 2), late)
  await t.rejects(kept.regenerate(), late)
  await t.rejects(kept.login('ada'), late)
  await t.rejects(kept.remember(), late)
  await t.rejects(kept.destroy(), late)
  await t.rejects(kept.logout(), late)
  t.same(kept.data(), { visits: 1, cart: ['apple'] }, 'reading is not')
  t.same(calls(), [])
})

test('L18 so is a change while a stream is under way', async t => {
  const { visit } = await start(t)
  const errors: unknown[] = []
  const cookie = cookieOf(await visit('', count))
  const response = await visit(cookie, (session, _request, reply) => {
    async function * body () {
      yield 'a'
      try { session.set('visits', 2) } catch (error) { errors.push(error) }
      yield 'b'
    }
    return reply.send(Readable.from(body()))
  })
  t.equal(response.payload, 'ab')
  t.match(errors, [{ code: 'FST_SESSIONS_HEADERS_SENT' }])
})

test('L the events of a life', async t => {
  const { visit } = await start(t)
  const events = watch(t, 'created', 'rotated', 'destroyed')
  const first = cookieOf(await visit('', count))
  const second = cookieOf(await visit(first, session => session.login('ada')))
  await visit(second, session => session.logout())
  t.same(events, [
    { event: 'created', session: 'session', hash: keyOf(first) },
    { event: 'rotated', session: 'session', hash: keyOf(second) },
    { event: 'destroyed', session: 'session', hash: keyOf(second) }
  ])
})

// What the keyed store adds to any backend.

test('D4 a record that cannot be decoded is no session, or an error', async t => {
  const memory = await memoryBackend()
  const store = { type: 'custom', backend: memory }
  const { visit } = await startStage(t, { store })
  const strict = await startStage(t, { store, onCorrupt: 'throw' })
  const cookie = cookieOf(await visit('', count))
  const { version, expiresAt } = (await memory.read(keyOf(cookie)))!
  const garbage = { value: 'garbage', version: 'v2', expiresAt }
  await memory.update(keyOf(cookie), garbage, { principal: null, createdAt: 0 }, version)

  const events = watch(t, 'corrupt')
  const response = await visit(cookie, count)
  t.equal(response.json(), 1)
  t.not(cookieOf(response), cookie)
  t.same(await memory.read(keyOf(cookie)), garbage, 'it is not rewritten')
  t.match(events, [{ session: 'session', hash: keyOf(cookie), reason: 'corrupt' }])
  t.match((await strict.visit(cookie, read)).json(), { code: 'FST_SESSIONS_CORRUPT' })
})

test('D5 an error of ours that an adapter passes on stays what it is', async t => {
  const memory = await memoryBackend()
  const backend = around(memory, async () => { throw new DriverError('redis', 'ioredis') })
  const { visit } = await startStage(t, { store: { type: 'custom', backend } })
  const events = watch(t, 'failure')
  t.match((await visit('', count)).json(), { code: 'FST_SESSIONS_DRIVER', message: /npm install ioredis/ })
  t.same(events, [])
})

test('D6 a call that takes longer than storeTimeout is a failure of the store', async t => {
  const memory = await memoryBackend()
  const hanging = around(memory, () => new Promise<never>(() => {}))
  const { visit } = await startStage(t, { store: { type: 'custom', backend: hanging }, storeTimeout: 0.02 })
  const events = watch(t, 'failure')
  const response = await visit('', count)
  t.equal(response.statusCode, 503)
  t.match(response.json(), { code: 'FST_SESSIONS_STORE', message: 'the session store failed: create' })
  t.match(events, [{ session: 'session', reason: 'create', hash: /^[\w-]{43}$/ }])
})

test('D7 a session that is too large is an error, and what is stored stays', async t => {
  const { visit } = await start(t, { maxSize: 1000 })
  const cookie = cookieOf(await visit('', count))
  const response = await visit(cookie, session => session.set('other', 'ä'.repeat(500)))
  t.equal(response.statusCode, 500)
  t.match(response.json(), {
    code: 'FST_SESSIONS_TOO_LARGE', message: /takes 10\d\d bytes, more than the 1000 that are allowed/
  })
  t.same((await visit(cookie, read)).json(), { visits: 1 })
})
