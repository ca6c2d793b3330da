import type { StoreLog } from '../lib/define-store.js'
import type { SessionBackend } from '../types/store.js'
import { mock } from 'node:test'
import { test } from 'tap'
import { createSweeper } from '../lib/records/sweeper.js'
import { TestClock } from '../lib/testing/clock.js'
import { memoryBackend } from './helpers/backends.js'
import { startVisits } from './helpers/visits.js'

const backend = {} as SessionBackend
const clock = new TestClock(1_000_000)
const settings = { sweepInterval: 60, storeTimeout: 5, clock, log: logged().log }
const MINUTE = 60_000

function logged () {
  const lines: unknown[][] = []
  const log: StoreLog = { debug () {}, info () {}, warn: (...line) => lines.push(line), error () {} }
  return { log, lines }
}

/** Timers that only the test moves. A sweep is due within 75 % and 125 % of the interval. */
async function withTimers (run: (pass: (ms: number) => Promise<void>) => Promise<void>) {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    await run(async ms => {
      mock.timers.tick(ms)
      await new Promise(setImmediate)
    })
  } finally {
    mock.timers.reset()
  }
}

test('D12 expired records are removed in batches, again and again, from the first use on', async t => {
  const calls: Array<[now: number, limit: number]> = []
  const results = [500, 500, 20, 0]
  const sweep = async (now: number, limit: number) => {
    calls.push([now, limit])
    return results.shift() ?? 0
  }
  await withTimers(async pass => {
    const sweeper = createSweeper({ ...backend, sweep }, settings)
    await pass(10 * MINUTE)
    t.strictSame(calls, [], 'not before the first use')
    sweeper.start()
    sweeper.start()
    await pass(0.74 * MINUTE)
    t.strictSame(calls, [])
    await pass(0.52 * MINUTE)
    t.strictSame(calls, [[1_000_000, 500], [1_000_000, 500], [1_000_000, 500]], 'until a batch is not full')
    clock.advance(60)
    await pass(1.26 * MINUTE)
    t.strictSame(calls.slice(3), [[1_060_000, 500]])
    await sweeper.stop()
    await pass(10 * MINUTE)
    t.equal(calls.length, 4)
    sweeper.start()
    await pass(10 * MINUTE)
    t.equal(calls.length, 4, 'stopped is stopped')
  })
})

test('D12 a sweep that fails is told of, and tried again', async t => {
  const { log, lines } = logged()
  let failing = true
  let calls = 0
  const sweep = async () => {
    calls++
    if (failing) throw Object.assign(new Error('down'), { parameters: ['secret'] })
    return 0
  }
  await withTimers(async pass => {
    const sweeper = createSweeper({ ...backend, sweep }, { ...settings, log })
    sweeper.start()
    await pass(1.26 * MINUTE)
    t.equal(calls, 1)
    t.match(lines, [[{ err: { message: 'down' } }, /^expired sessions were not removed; the next attempt follows$/]])
    t.notOk(JSON.stringify(lines).includes('secret'))
    failing = false
    await pass(1.26 * MINUTE)
    t.equal(calls, 2)
    t.equal(lines.length, 1)
    await sweeper.stop()
  })
})

test('D12 stop() waits for the batch at work and begins no other', async t => {
  let finish = (_removed: number) => {}
  let calls = 0
  const sweep = () => {
    calls++
    return new Promise<number>(resolve => { finish = resolve })
  }
  await withTimers(async pass => {
    const sweeper = createSweeper({ ...backend, sweep }, settings)
    sweeper.start()
    await pass(1.26 * MINUTE)
    t.equal(calls, 1)
    let stopped = false
    const stopping = sweeper.stop().then(() => { stopped = true })
    await pass(0)
    t.equal(stopped, false)
    finish(500)
    await stopping
    await pass(10 * MINUTE)
    t.equal(calls, 1)
  })
})

test('D12 stop() does not wait for a batch that hangs', async t => {
  const sweep = () => new Promise<number>(() => {})
  await withTimers(async pass => {
    const sweeper = createSweeper({ ...backend, sweep }, settings)
    sweeper.start()
    await pass(1.26 * MINUTE)
    let stopped = false
    const stopping = sweeper.stop().then(() => { stopped = true })
    await pass(4999)
    t.equal(stopped, false)
    await pass(1)
    await stopping
    t.ok(stopped)
  })
})

test('D12 a batch that hangs is told of, and the next one is tried', async t => {
  const { log, lines } = logged()
  let calls = 0
  const sweep = () => new Promise<number>(() => { calls++ })
  await withTimers(async pass => {
    const sweeper = createSweeper({ ...backend, sweep }, { ...settings, log })
    sweeper.start()
    await pass(1.26 * MINUTE)
    await pass(5000)
    t.match(lines, [[{ err: { message: 'no answer in 5 s' } }]])
    await pass(1.26 * MINUTE)
    t.equal(calls, 2)
  })
})

test('D12 nothing is swept where the engine does it, or where it is switched off', async t => {
  let calls = 0
  const sweep = async () => calls++
  await withTimers(async pass => {
    for (const sweeper of [
      createSweeper(backend, settings),
      createSweeper({ ...backend, sweep }, { ...settings, sweepInterval: null })
    ]) {
      sweeper.start()
      await pass(10 * MINUTE)
      await sweeper.stop()
    }
    t.equal(calls, 0)
  })
})

test('D12 live records stay, expired ones go; the timer keeps no process alive and ends with the application', async t => {
  const clock = new TestClock()
  const memory = await memoryBackend(clock)
  const removed: number[] = []
  const sweep = async (now: number, limit: number) => {
    removed.push(await memory.sweep!(now, limit))
    return removed.at(-1)!
  }
  const timers = () => process.getActiveResourcesInfo().filter(resource => resource === 'Timeout').length
  const before = timers()
  const visit = await startVisits(t, { clock, idleTimeout: 100, store: { type: 'custom', backend: { ...memory, sweep } } })
  await visit(async session => (await session.load()).set('visits', 1))
  t.equal(timers(), before)
  await visit.app.close()

  await withTimers(async pass => {
    const visit = await startVisits(t, { clock, idleTimeout: 100, store: { type: 'custom', backend: { ...memory, sweep } } })
    await visit(async session => (await session.load()).set('visits', 1))
    await visit.client.clear()
    clock.advance(60)
    await visit(async session => (await session.load()).set('visits', 2))
    clock.advance(60)
    await pass(5 * 1.26 * MINUTE)
    t.strictSame(removed, [2])
    await visit(async session => t.equal((await session.load()).visits, 2))
    await visit.app.close()
    await pass(60 * MINUTE)
    t.strictSame(removed, [2])
  })
})
