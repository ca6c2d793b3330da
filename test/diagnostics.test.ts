import { tracingChannel } from 'node:diagnostics_channel'
import { test } from 'tap'
import type { SessionMessage, SessionOperation, SessionTrace } from '../lib/index.js'
import type { Script } from './helpers/stage.js'
import { sha256 } from '../lib/base/id.js'
import { TestClock } from '../lib/testing/clock.js'
import { around, memoryBackend } from './helpers/backends.js'
import { cookieOf, startStage, watch } from './helpers/stage.js'
import { startVisits } from './helpers/visits.js'

interface Teardown { teardown (fn: () => unknown): void }

/** Notes how operations end, until the end of the test. */
function trace (t: Teardown): string[] {
  const seen: string[] = []
  for (const operation of ['load', 'commit', 'destroy'] satisfies SessionOperation[]) {
    const end = (outcome: string) => (message: SessionTrace) => {
      const { session, hash } = message
      seen.push(`${operation} ${session} ${hash === null ? 'no hash' : typeof hash} ${message.outcome} ${outcome}`)
    }
    const subscribers = { asyncEnd: end('ended'), error: end('failed') }
    const traced = tracingChannel<unknown, SessionTrace>(`fastify-sessions:${operation}`)
    traced.subscribe(subscribers as never)
    t.teardown(() => traced.unsubscribe(subscribers as never))
  }
  return seen
}

test('D17 loads, commits and destructions are traced', async t => {
  const clock = new TestClock()
  let broken = false
  const backend = around(await memoryBackend(clock), async (_verb, call) => {
    if (broken) throw new Error('down')
    return call()
  })
  const visit = await startVisits(t, { clock, store: { type: 'custom', backend } })
  const seen = trace(t)
  const told = () => seen.splice(0)

  await visit(async session => { (await session.load()).set('a', 1) })
  t.strictSame(told(), ['load session no hash none ended', 'commit session no hash create ended'])
  await visit(() => {})
  t.strictSame(told(), [])
  await visit(async session => {
    await Promise.all([session.load(), session.load()])
    session.set('a', 2)
  })
  t.strictSame(told(), ['load session string found ended', 'commit session string update ended'])
  clock.advance(100)
  await visit(session => session.load())
  t.strictSame(told(), ['load session string found ended', 'commit session string touch ended'])
  await visit(session => session.regenerate())
  t.strictSame(told(), ['load session string found ended', 'commit session string rotate ended'])
  await visit(async session => {
    await session.load()
    broken = true
    session.set('a', 3)
  })
  t.strictSame(told(), [
    'load session string found ended', 'commit session string update failed', 'commit session string update ended'
  ])
  await t.rejects(visit(session => session.load()))
  t.strictSame(told(), ['load session undefined undefined failed', 'load session undefined undefined ended'])
  broken = false
  await visit(session => session.logout())
  t.strictSame(told(), ['load session string found ended', 'destroy session string destroy ended'])
})

test('D17 a session that has ended is told as expired, and as rejected', async t => {
  const clock = new TestClock()
  // The memory backend forgets what has expired: this one is asked by its own clock, which stands still.
  const backend = await memoryBackend(new TestClock(clock.now()))
  const visit = await startVisits(t, { clock, store: { type: 'custom', backend } })
  await visit(async session => { (await session.load()).set('a', 1) })
  const seen = watch(t, 'rejected', 'expired')
  clock.advance(1800)
  await visit(session => session.load())
  t.strictSame(seen.map(({ event, reason }) => `${event} ${reason}`), ['rejected expired', 'expired expired'])
  t.match(seen[0].hash, /^[\w-]{43}$/)
  t.equal(seen[1].hash, seen[0].hash)
})

interface Line extends SessionMessage { level: number, msg: string, reqId?: string }

/** What is logged of sessions: level, text, reason, and whether it was told by a request. */
function logged (level = 'debug') {
  const lines: Line[] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line)) } }
  const told = () => lines.splice(0).filter(({ msg }) => msg.startsWith('session ')).map(line => {
    return [line.level, line.msg, line.reason, line.reqId === undefined ? 'application' : 'request']
  })
  return { told, lines, logger: { level, stream } }
}

const DEBUG = 20
const WARN = 40

test('D17 each event is a line in the log of its request', async t => {
  const clock = new TestClock()
  // As above: its clock stands still.
  const memory = await memoryBackend(new TestClock(clock.now()))
  let meddle = async () => {}
  let broken = false
  const backend = around(memory, async (verb, call) => {
    if (broken) throw new Error('down')
    if (verb !== 'read') await meddle()
    return call()
  })
  const { logger, told } = logged()
  const { app, visit } = await startStage(t, { clock, store: { type: 'custom', backend }, maxPerUser: 1 }, { logger })
  const set: Script = (session, request) => { session.set('n', request.id) }
  const once = (meddling: () => Promise<unknown>) => async () => {
    meddle = async () => {}
    await meddling()
  }

  const first = cookieOf(await visit('', set))
  t.strictSame(told(), [[DEBUG, 'session created', undefined, 'request']])
  const ada = cookieOf(await visit(first, session => session.login('ada')))
  t.strictSame(told(), [[DEBUG, 'session rotated', undefined, 'request']])
  clock.advance(1)
  await visit('', session => session.login('ada'))
  t.strictSame(told(), [
    [DEBUG, 'session destroyed', 'maxPerUser', 'request'], [DEBUG, 'session created', undefined, 'request']
  ])
  await visit(ada, () => {})
  t.strictSame(told(), [[DEBUG, 'session cookie rejected', 'unknown', 'request']])

  const cookie = cookieOf(await visit('', set))
  const key = sha256(cookie.split('=')[1])
  told()
  meddle = once(() => visit(cookie, session => { session.set('other', 1) }))
  await visit(cookie, set)
  t.strictSame(told(), [[DEBUG, 'session conflict', undefined, 'request']])
  meddle = once(() => memory.remove(key))
  await visit(cookie, set)
  t.strictSame(told(), [
    [DEBUG, 'session gone', undefined, 'request'], [DEBUG, 'session cookie not set', 'gone', 'request']
  ])

  const last = cookieOf(await visit('', set))
  clock.advance(1800)
  await visit(last, () => {})
  t.strictSame(told().slice(1), [
    [DEBUG, 'session cookie rejected', 'expired', 'request'], [DEBUG, 'session expired', 'expired', 'request']
  ])
  const damaged = cookieOf(await visit('', set))
  const kept = (await memory.read(sha256(damaged.split('=')[1])))!
  const index = { principal: null, createdAt: clock.now() }
  await memory.update(sha256(damaged.split('=')[1]), { ...kept, value: 'nonsense' }, index, kept.version)
  await visit(damaged, () => {})
  t.strictSame(told().slice(1), [[WARN, 'session corrupt', 'corrupt', 'request']])
  broken = true
  await visit(damaged, () => {})
  t.strictSame(told(), [[WARN, 'session store failed', 'read', 'application']])
  broken = false

  await visit('', session => session.login('eve'))
  const [{ handle }] = await app.sessions.listByUser('eve')
  told()
  await app.sessions.destroy(handle)
  await visit('', session => session.login('eve'))
  await app.sessions.destroyByUser('eve')
  t.strictSame(told(), [
    [DEBUG, 'session destroyed', 'destroy', 'application'],
    [DEBUG, 'session created', undefined, 'request'],
    [DEBUG, 'session destroyed', 'destroyByUser', 'application']
  ])
  await app.sessions.fromCookie(damaged)
  t.strictSame(told(), [[WARN, 'session corrupt', 'corrupt', 'application']])
})

test('D17 the log says why a cookie was not set', async t => {
  const unset = (reason: string) => [[DEBUG, 'session cookie not set', reason, 'request']]
  for (const store of [{ type: 'memory' }, { type: 'cookie' }]) {
    const clock = new TestClock()
    const { logger, told } = logged()
    const secret = 'a secret that is at least 32 bytes long'
    const { visit } = await startStage(t, { clock, store, secret }, { logger })
    const elsewhere = { headers: { host: 'shop.example' } }
    told()
    await visit('', session => { session.set('n', 1) }, elsewhere)
    t.strictSame(told(), unset('plain http'))
    const cookie = cookieOf(await visit('', session => { session.set('n', 1) }))
    told()
    await visit(cookie, session => session.regenerate(), elsewhere)
    t.strictSame(told(), unset('plain http'))
    clock.advance(100)
    await visit(cookie, async (session, _request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200)
      await session.save()
      reply.raw.end()
    })
    t.strictSame(told(), store.type === 'cookie' ? unset('headers sent') : [])
  }
})

test('D17 the log says that a deletion came too late', async t => {
  const { logger, told } = logged()
  const { visit } = await startStage(t, {}, { logger })
  const cookie = cookieOf(await visit('', session => { session.set('n', 1) }))
  told()
  await visit(cookie, async (session, _request, reply) => {
    await session.destroy()
    reply.hijack()
    reply.raw.writeHead(200)
    await session.save()
    reply.raw.end()
  })
  t.strictSame(told(), [
    [DEBUG, 'session destroyed', undefined, 'request'], [DEBUG, 'session cookie not set', 'headers sent', 'request']
  ])
})

test('D17 the log lines carry what the events carry, and none is written below its level', async t => {
  for (const level of ['debug', 'info']) {
    const { logger, lines, told } = logged(level)
    const { visit } = await startStage(t, {}, { logger })
    const seen = watch(t, 'created')
    await visit('', session => { session.set('n', 1) })
    if (level === 'info') {
      t.strictSame(told(), [])
    } else {
      const { session, hash } = lines.find(({ msg }) => msg === 'session created')!
      t.strictSame([{ event: 'created', session, hash }], seen)
    }
  }
})
