import { channel, tracingChannel } from 'node:diagnostics_channel'
import { test } from 'tap'
import type { SessionOperation, SessionTrace } from '../lib/index.js'
import { TestClock } from '../lib/testing/clock.js'
import { around, memoryBackend } from './helpers/backends.js'
import { watch } from './helpers/stage.js'
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

test('D17 no channel carries an id or data', async t => {
  const carried: unknown[] = []
  const note = (message: unknown) => { carried.push(message) }
  const names = ['load', 'commit', 'destroy'].flatMap(operation => {
    return ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map(step => `tracing:fastify-sessions:${operation}:${step}`)
  })
  for (const name of names) {
    channel(name).subscribe(note)
    t.teardown(() => channel(name).unsubscribe(note))
  }
  const visit = await startVisits(t)
  const ids = new Set<string>()
  for (const work of ['set', 'regenerate', 'logout'] as const) {
    const response = await visit(async session => {
      await session.load()
      if (work === 'set') session.set('secret', 'do not tell')
      else await session[work]()
    })
    const value = String(response.headers['set-cookie']).split(/[=;]/)[1]
    if (value !== '') ids.add(value)
  }
  const text = carried.map(message => JSON.stringify(message)).join()
  t.equal(ids.size, 2)
  t.ok(carried.length > 15)
  for (const id of ids) t.notOk(text.includes(id))
  t.notOk(text.includes('do not tell'))
})
