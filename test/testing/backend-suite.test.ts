import t, { test } from 'tap'
import { testBackend } from '../../lib/testing/backend-suite.js'
import type { BackendSuite } from '../../lib/testing/backend-suite.js'
import { faults, stopTimers } from './faults.js'
import { atWholeSeconds, limitedTo, storeWith } from './store-with.js'
import type { Fault } from './store-with.js'

// The whole suite runs once for each fault.
t.setTimeout(600_000)

const abilities = ['keysOf', 'removeAllOf', 'sweep', 'count', 'ping'] as const

/** Runs the suite with a runner that records. */
async function run (fault?: Fault, options: Partial<BackendSuite> = {}) {
  const { store, engine } = storeWith(fault)
  const cases: { name: string, run: () => Promise<void> }[] = []
  testBackend({
    test: (name, run) => cases.push({ name, run }),
    store,
    engine,
    abilities,
    timeout: 0.2,
    rounds: 30,
    seed: 1,
    ...options
  })
  const failures = new Map<number, string[]>()
  for (const { name, run } of cases) {
    await run().catch(({ message }) => {
      failures.set(numberOf(name), [...failures.get(numberOf(name)) ?? [], `${name}: ${message}`])
    })
  }
  return {
    names: cases.map(({ name }) => name),
    failed: [...failures.keys()].sort((a, b) => a - b),
    why: [...failures.values()].flat().join('\n')
  }
}

const numbers = Array.from({ length: 31 }, (_, i) => i)
const numberOf = (name: string) => Number(/\bS(\d+)/.exec(name)?.[1])

test('a sound backend passes, and every number has a case', async (t) => {
  const { failed, why, names } = await run(undefined, { name: 'sound' })
  t.strictSame(failed, [], why)
  t.ok(names.every(name => name.startsWith('sound S')))
  t.notOk(names.some(name => name.includes('not applicable')))
  const idle = numbers.filter(number => !names.map(numberOf).includes(number))
  t.strictSame(idle, [19], 'S19 is about hashing and sealing, which no backend does')
})

test('a case that does not apply is registered with the reason', async (t) => {
  const without = Object.fromEntries(abilities.map(ability => [ability, undefined]))
  const { failed, why, names } = await run(() => without,
    { abilities: [], engine: undefined, shared: false })
  t.strictSame(failed, [], why)
  t.strictSame(names.filter(name => name.includes('not applicable')), [
    'S20 engine down - not applicable: the store has no engine of its own',
    'S25 sweep - not applicable: the engine removes expired records itself',
    'S25 count - not applicable: the store cannot count',
    'S27 a second instance - not applicable: records live in the memory of one',
    'S28 ten instances at once - not applicable: records live in the memory of one',
    'S29 keysOf - not applicable: the store cannot list the sessions of a principal',
    'S29 removeAllOf - not applicable: the store cannot remove the sessions of a principal'
  ])
})

test('without keysOf and ping, the verbs that are left are still tried', async (t) => {
  const { engine } = storeWith()
  const { failed, why, names } = await run(() => ({ keysOf: undefined, ping: undefined }), {
    abilities: ['removeAllOf', 'sweep', 'count'],
    engine: { stop: engine.stop, start: engine.start }
  })
  t.strictSame(failed, [20], why)
  t.match(why, /S20 engine down[^]*answered/, 'the engine that was stopped is not the one in use')
  t.ok(names.includes('S20 engine silent - not applicable: it cannot be paused'))
})

test('knobs describe engines that differ', async (t) => {
  const seconds = await run(atWholeSeconds, { expiryPrecision: 's' })
  t.strictSame(seconds.failed, [], seconds.why)
  const limit = limitedTo(1000, 'the value has more than 1000 bytes')
  const small = await run(async (sound, tools) => ({
    ...await limit(sound, tools),
    async * keysOf (principal) {
      for await (const { record, ...item } of sound.keysOf(principal)) yield item
    }
  }), { maxValue: 1000 })
  t.strictSame(small.failed, [], small.why)
  const defaults = await run(undefined, { rounds: undefined, seed: undefined, timeout: undefined })
  t.strictSame(defaults.failed, [], defaults.why)
})

for (const { name, found, fault, options } of faults) {
  test(`fault: ${name}`, async (t) => {
    const { failed, why } = await run(fault, options)
    if (!t.strictSame(failed, found)) t.comment(why)
  })
}

t.teardown(stopTimers)

test('every number finds some fault', async (t) => {
  const found = new Set(faults.flatMap(fault => fault.found))
  const idle = numbers.filter(number => !found.has(number))
  t.strictSame(idle, [19])
})
