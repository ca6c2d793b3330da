import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { test } from 'tap'
import { createTimeLimit, withinTime } from '../lib/base/time-limit.js'

const never = () => new Promise<never>(() => {})

type Failure = (error: unknown) => unknown

/** With the answer as the result. */
function sharedLimit (seconds: number) {
  const inTime = createTimeLimit(seconds)
  return async <T>(call: () => T | Promise<T>, failure: Failure = asItIs) => inTime(call, asItIs, failure)
}

const asItIs = <T>(answer: T): T => answer

const ways: Array<[name: string, limitOf: (seconds: number) => <T>(call: () => Promise<T>) => Promise<T>]> = [
  ['a call', seconds => call => withinTime(seconds, call)],
  ['calls that share a limit', sharedLimit]
]

for (const [name, limitOf] of ways) {
  test(`${name}: the outcome of what ends in time`, async t => {
    const inTime = limitOf(5)
    t.equal(await inTime(async () => 1), 1)
    await t.rejects(inTime(async () => { throw new Error('its own') }), { message: 'its own' })
    await t.rejects(inTime(() => { throw new Error('at once') }), { message: 'at once' })
  })

  test(`${name}: each ends within its own time, whatever became of those before it`, async t => {
    const inTime = limitOf(0.1)
    const begun = performance.now()
    const ending = async (call: Promise<unknown>) => {
      await t.rejects(call, { message: 'no answer in 0.1 s' })
      return performance.now() - begun
    }
    const first = ending(inTime(never))
    const answered = inTime(async () => 'answered')
    await delay(50)
    const second = ending(inTime(never))
    t.equal(await answered, 'answered')
    const [one, two] = await Promise.all([first, second])
    t.ok(one >= 99, 'the first not too early')
    t.ok(two >= 140, 'nor the second, which began later')
    await t.rejects(inTime(never), { message: 'no answer in 0.1 s' }, 'nor is one forgotten after all of them')
  })

  test(`${name}: an answer that comes too late is ignored, its failure too`, async t => {
    let fail!: (error: Error) => void
    const late = new Promise<never>((_resolve, reject) => { fail = reject })
    await t.rejects(limitOf(0.01)(() => late), { message: 'no answer in 0.01 s' })
    fail(new Error('too late'))
  })
}

test('calls that share a limit: one whose failure cannot be told fails all the same, and no other for it', async t => {
  const inTime = sharedLimit(0.01)
  const speechless = () => { throw new Error('the log is broken') }
  const calls = [
    inTime(never, speechless), inTime(never), inTime(async () => { throw new Error('its own') }, speechless),
    inTime(() => { throw new Error('at once') }, speechless)
  ]
  const outcomes = await Promise.allSettled(calls)
  t.strictSame(outcomes.map(outcome => outcome.status === 'rejected' && outcome.reason.message), [
    'the log is broken', 'no answer in 0.01 s', 'the log is broken', 'the log is broken'
  ])
})

test('calls that share a limit: what is answered at once is there at once', async t => {
  const inTime = createTimeLimit(0.01)
  t.equal(inTime(() => 1, count => count + 1, asItIs), 2)
  t.equal(inTime(() => null, asItIs, asItIs), null)
  t.match(inTime(async () => 1, asItIs, asItIs), Promise)
})

test('calls that share a limit: a foreign promise that breaks is a failure like any other', async t => {
  const inTime = sharedLimit(0.01)
  const broken = { then () { throw new Error('broken') } } as unknown as Promise<never>
  await t.rejects(inTime(() => broken, () => new Error('failed')), { message: 'failed' })
})

test('calls that share a limit: the answer is no failure where no result can be made of it', async t => {
  const inTime = createTimeLimit(0.01)
  const unreadable = () => { throw new Error('not read') }
  const failed = () => new Error('failed')
  await t.rejects(async () => inTime(async () => 1, unreadable, failed), { message: 'not read' })
  await t.rejects(async () => inTime(() => 1, unreadable, failed), { message: 'not read' })
})

test('the process lives for a call that is waited for, and not for the limit of those that are over', async t => {
  t.equal(run(`
    const inTime = sharedLimit(60)
    await inTime(async () => 1)
    await inTime(async () => 2)`), '')
  t.equal(run(`
    const inTime = sharedLimit(0.1)
    await inTime(async () => 1)
    await inTime(() => new Promise(() => {})).catch(error => console.log(error.message))`), 'no answer in 0.1 s\n')
})

test('there is one timer, even when another call begins while one is told that its time is over', async t => {
  t.equal(run(`
    const inTime = sharedLimit(0.1)
    const never = () => new Promise(() => {})
    inTime(never, error => {
      inTime(never).catch(() => {})
      return error
    }).catch(() => {
      console.log(process.getActiveResourcesInfo().filter(name => name === 'Timeout').length)
    })
    await new Promise(resolve => setTimeout(resolve, 50))
    await inTime(never).catch(() => {})`), '1\n')
})

/** Fails after a while when the program does not end by itself. */
function run (program: string): string {
  const root = join(import.meta.dirname, '..')
  const source = `import { createTimeLimit } from './lib/base/time-limit.js'
    const sharedLimit = seconds => {
      const inTime = createTimeLimit(seconds)
      return (call, failure = error => error) => inTime(call, answer => answer, failure)
    }
    ${program}`
  const args = ['--import', './scripts/typescript.js', '--input-type=module', '-e', source]
  return execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8', timeout: 30_000 })
}
