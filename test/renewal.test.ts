import { test } from 'tap'
import type { Session, SessionOptions } from '../lib/index.js'
import { sha256 } from '../lib/base/id.js'
import { jsonCodec } from '../lib/records/codec.js'
import { TestClock } from '../lib/testing/clock.js'
import { counting, memoryBackend } from './helpers/backends.js'
import { heldVisit } from './helpers/pause.js'
import { setCookies, startStage, watch } from './helpers/stage.js'

interface Teardown { teardown (fn: () => unknown): void }

/** A browser with a session whose cookie is renewed every 100 seconds. */
async function startRenewing (t: Teardown, options: SessionOptions = {}) {
  const clock = new TestClock()
  const backend = counting(await memoryBackend(clock))
  const store = { type: 'custom', backend }
  const long = { clock, store, renewInterval: 100, idleTimeout: 1e6 }
  const { app, visit } = await startStage(t, { ...long, ...options })
  const read = (session: Session) => session.data()
  /** The data that a cookie opens, and the cookie that the response sets. */
  const open = async (cookie: string, script = read) => {
    const response = await visit(cookie, script)
    const [line] = setCookies(response)
    return { data: response.json(), cookie: line?.split(';')[0], line }
  }
  const first = await visit('', session => { session.set('n', 1); return 'done' })
  const cookie = setCookies(first)[0].split(';')[0]
  backend.calls.length = 0
  return { app, clock, backend, visit, open, cookie }
}

for (const secret of [undefined, 's'.repeat(32)]) {
  const kind = secret === undefined ? 'plain' : 'signed'

  test(`L19 ${kind}: the value of the cookie is renewed, and the old one ends after the grace`, async t => {
    const { clock, open, cookie, backend } = await startRenewing(t, { ...secret && { secret } })
    const events = watch(t, 'rotated', 'rejected')
    clock.advance(99)
    t.strictSame(await open(cookie), { data: { n: 1 }, cookie: undefined, line: undefined })
    clock.advance(1)
    const renewed = await open(cookie)
    t.strictSame(renewed.data, { n: 1 })
    t.match(renewed.cookie, secret ? /^__Host-session=[\w-]{43}\.[\w-]{22}\.[\w-]{43}$/ : /^__Host-session=[\w-]{43}\.[\w-]{22}$/)
    t.equal(renewed.cookie.split('.')[0], cookie.split('.')[0], 'the same session')
    t.strictSame(events.map(({ event, reason }) => `${event} ${reason}`), ['rotated renewal'])

    // Requests in flight, and a response that was lost: the old value counts until the new one was seen.
    clock.advance(29)
    t.strictSame(await open(cookie), { data: { n: 1 }, cookie: undefined, line: undefined })
    backend.calls.length = 0
    t.strictSame(await open(renewed.cookie), { data: { n: 1 }, cookie: undefined, line: undefined })
    t.strictSame(backend.calls, ['read', 'update'], 'which is noted, once')
    await open(renewed.cookie)
    t.strictSame(backend.calls, ['read', 'update', 'read'])
    clock.advance(29)
    t.strictSame((await open(cookie)).data, { n: 1 })
    clock.advance(1)
    t.strictSame(await open(cookie), { data: {}, cookie: undefined, line: undefined }, 'the grace is over')
    t.match(events.at(-1), { event: 'rejected', reason: 'renewed' })
    t.strictSame((await open(renewed.cookie)).data, { n: 1 })

    clock.advance(41)
    const again = await open(renewed.cookie)
    t.not(again.cookie, undefined, 'a hundred seconds after the first renewal')
    t.not(again.cookie, renewed.cookie)
    t.strictSame((await open(again.cookie)).data, { n: 1 })
  })

  test(`L19 ${kind}: only our spelling of the value counts`, async t => {
    const { clock, open, cookie } = await startRenewing(t, { ...secret && { secret } })
    if (!secret) t.strictSame((await open(`${cookie}.${'A'.repeat(22)}`)).data, {}, 'before the first renewal')
    clock.advance(100)
    const renewed = (await open(cookie)).cookie
    const seen = watch(t, 'rejected')
    const [name, id, middle] = renewed.split(/[=.]/)
    const sign = (value: string) => secret ? `${value}.${renewed.split('.')[2]}` : value
    for (const value of [
      `${id}.`, `${id}..${middle}`, `${id}.${middle}.`, `.${id}.${middle}`, `${id}.${middle}x`, `${id}.${middle}.${middle}`,
      `${id}.${'A'.repeat(22)}`, `${middle}.${id}`, `${id}.${middle.slice(1)}`
    ]) t.strictSame((await open(`${name}=${sign(value)}`)).data, {}, value.length.toString())
    t.equal(seen.length, 9)
    t.strictSame((await open(renewed)).data, { n: 1 })
  })
}

test('L19 a browser that never shows the new value gets another', async t => {
  const { clock, open, cookie } = await startRenewing(t)
  clock.advance(100)
  const lost = (await open(cookie)).cookie
  clock.advance(30)
  const next = (await open(cookie)).cookie
  t.not(next, undefined)
  t.strictSame((await open(lost)).data, {}, 'the lost one is dead')
  t.strictSame((await open(next)).data, { n: 1 })
  clock.advance(30)
  t.strictSame((await open(cookie)).data, {})
})

test('L19 two requests at once renew once; both write', async t => {
  const { clock, visit, open, cookie, backend } = await startRenewing(t)
  clock.advance(100)
  const responses = await Promise.all(['a', 'b'].map(key => visit(cookie, session => {
    session.set(key, 1)
    return 'done'
  })))
  const cookies = responses.flatMap(setCookies)
  t.equal(cookies.length, 1)
  t.strictSame((await open(cookies[0].split(';')[0])).data, { n: 1, a: 1, b: 1 })
  t.equal(await backend.count!(), 1)
})

test('L19 logout, login and a write with the old value, within the grace', async t => {
  for (const what of ['write', 'logout', 'login', 'regenerate'] as const) {
    const { clock, visit, open, cookie, backend } = await startRenewing(t, { cookie: { persistent: true } })
    clock.advance(100)
    const renewed = (await open(cookie)).cookie
    await open(renewed)
    clock.advance(10)
    const response = await visit(cookie, async session => {
      if (what === 'write') session.set('n', 2)
      else if (what === 'login') await session.login('ada')
      else await session[what]()
      return 'done'
    })
    if (what === 'write') {
      t.strictSame(setCookies(response), [], 'it does not set the old value again')
      t.strictSame((await open(renewed)).data, { n: 2 })
    } else {
      t.equal(setCookies(response).length, 1)
      t.strictSame((await open(renewed)).data, {}, what)
      t.equal(await backend.count!(), what === 'logout' ? 0 : 1)
    }
  }
})

test('L19 not renewed: with a server error, when the browser cannot be told, twice in one request', async t => {
  const { clock, visit, open, cookie, app } = await startRenewing(t)
  clock.advance(100)
  const failed = await visit(cookie, () => { throw new Error('on purpose') })
  t.strictSame([failed.statusCode, setCookies(failed)], [500, []])
  const plain = await visit(cookie, session => { session.set('n', 2); return 'done' }, {
    headers: { host: 'example.org' }
  })
  t.strictSame([plain.statusCode, setCookies(plain)], [200, []])
  const late = await visit(cookie, async (session, _request, reply) => {
    reply.raw.flushHeaders()
    await session.save()
    reply.hijack()
    reply.raw.end('{}')
  })
  t.strictSame(setCookies(late), [])
  const detached = await app.sessions.fromCookie(cookie)
  detached.set('n', 3)
  await detached.save()
  t.strictSame((await open(cookie, session => session.data())).data, { n: 3 })

  const next = await startRenewing(t)
  next.clock.advance(100)
  const twice = await next.visit(next.cookie, async session => {
    await session.save()
    session.set('n', 2)
    await session.save()
    return 'done'
  })
  const [line] = setCookies(twice)
  next.clock.advance(200)
  t.strictSame((await next.open(next.cookie)).data, { n: 2 }, 'the new value was not taken for seen')
  t.ok(line)
})

test('L19 without the option, a session that was renewed keeps its value', async t => {
  const clock = new TestClock()
  const backend = await memoryBackend(clock)
  const stages = await Promise.all([100, null].map(renewInterval => startStage(t, {
    clock, store: { type: 'custom', backend }, renewInterval, idleTimeout: 1e6
  })))
  const cookieOf = (response: Parameters<typeof setCookies>[0]) => setCookies(response)[0].split(';')[0]
  const old = cookieOf(await stages[0].visit('', session => { session.set('n', 1); return 'done' }))
  clock.advance(100)
  const cookie = cookieOf(await stages[0].visit(old, () => 'done'))
  clock.advance(1000)
  const write = await stages[1].visit(cookie, session => { session.set('n', 2); return session.data() })
  t.strictSame(write.json(), { n: 2 })
  t.strictSame(setCookies(write), [])
  const id = cookie.split(/[=.]/)[1]
  const forged = await stages[1].visit(`__Host-session=${id}.${'A'.repeat(22)}`, session => session.data())
  t.strictSame(forged.json(), {})
})

test('L19 a record with a renewal that is none is corrupt; the store keeps hashes only', async t => {
  const draft = {
    data: {},
    createdAt: 1,
    authenticatedAt: null,
    expiresAt: 9,
    principal: null,
    rememberedUntil: null,
    boundTo: null
  }
  const renewal = { at: 1, current: 'c', previous: 'p', until: null }
  t.match(jsonCodec.decode(jsonCodec.encode({ ...draft, renewal })), { renewal })
  for (const wrong of [
    1, {}, { ...renewal, current: 1 }, { ...renewal, previous: null }, { ...renewal, at: null },
    { ...renewal, until: 'x' }
  ]) t.equal(jsonCodec.decode(jsonCodec.encode({ ...draft, renewal: wrong as never })), null)

  const { clock, open, cookie, backend } = await startRenewing(t)
  clock.advance(100)
  const [, id, secret] = (await open(cookie)).cookie.split(/[=.]/)
  const stored = String((await backend.read(sha256(id)))!.value)
  t.notOk(stored.includes(secret))
  t.ok(stored.includes(sha256(secret)))
})

test('L19 a sealed cookie has nothing to renew', async t => {
  await t.rejects(startStage(t, { store: { type: 'cookie' }, secret: 's'.repeat(32), renewInterval: 100 }), {
    code: 'FST_SESSIONS_OPTION',
    message: 'session option renewInterval must be null for the cookie store, whose cookie is new with each write'
  })
})

/** Three requests: a slow one with the old value, one that renews, one that shows the new value. */
async function startLate (t: Teardown, script: (session: Session) => unknown, lateness: number) {
  const options = { renewInterval: 300, absoluteTimeout: null, cookie: { persistent: true } }
  const { clock, visit, open, cookie } = await startRenewing(t, options)
  clock.advance(300)
  const slow = await heldVisit({ app: undefined as never, visit }, cookie)
  const renewed = (await open(cookie)).cookie
  clock.advance(1)
  await open(renewed)
  clock.advance(lateness)
  const response = await slow.finish(script)
  return { response, renewed, open }
}

test('L19 a slow request with the old value does not set it again, and loses nothing', async t => {
  for (const lateness of [0, 100]) {
    const write = await startLate(t, session => { session.set('late', 1) }, lateness)
    t.equal(write.response.statusCode, 200)
    t.strictSame(setCookies(write.response), [])
    t.strictSame((await write.open(write.renewed)).data, { n: 1, late: 1 }, `${lateness} s later`)
  }
})

test('L19 options() does not set the old value again', async t => {
  const { clock, visit, open, cookie } = await startRenewing(t)
  clock.advance(100)
  const renewed = (await open(cookie)).cookie
  await open(renewed)
  const response = await visit(cookie, session => { session.options({ sameSite: 'strict' }); return 'done' })
  t.strictSame(setCookies(response), [])
})
