import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SessionBackend } from '../../types/store.js'
import { openBackend } from './open-store.js'
import type { Ability, BackendSuite, Check, Lab, SuiteEngine } from './backend-lab.js'
import { bounded, collect, newKey, newKeys, newSpace, sameValue } from './backend-lab.js'

type Skip = (name: string, reason: string) => void

const abilities: readonly Ability[] = ['keysOf', 'removeAllOf', 'sweep', 'count', 'ping']

/** S20 and S25 to S28: the engine, its connections and its housekeeping. */
export function checkEngine (options: BackendSuite, check: Check, skip: Skip): void {
  check('S0 the backend has the abilities that were declared', async ({ backend }) => {
    assert.deepEqual(abilities.filter(ability => backend[ability] !== undefined),
      abilities.filter(ability => options.abilities.includes(ability)))
    await backend.ping?.()
  })

  const { engine } = options
  if (engine === undefined) {
    skip('S20 engine down', 'the store has no engine of its own')
  } else {
    check('S20 engine down: each verb rejects; back again: all work, without a restart',
      lab => engineDown(lab, engine))
    if (engine.pause === undefined) skip('S20 engine silent', 'it cannot be paused')
    else check('S20 engine silent: no verb answers; back again: all work', lab => engineSilent(lab, engine))
  }

  if (!options.abilities.includes('sweep')) skip('S25 sweep', 'the engine removes expired records itself')
  else checkSweep(check)
  if (!options.abilities.includes('count')) skip('S25 count', 'the store cannot count')
  else check('S25 count tells the live records', counts)

  check('S26 close ends what was opened, if anything was, and twice is no error', () => closes(options))

  if (options.shared === false) {
    skip('S27 a second instance', 'records live in the memory of one')
    skip('S28 ten instances at once', 'records live in the memory of one')
  } else {
    check('S27 a second instance sees every write at once', secondInstance)
    check('S28 ten instances open at once', tenInstances)
  }
}

async function engineDown (lab: Lab, engine: SuiteEngine) {
  const key = newKey()
  await lab.put(key)
  await engine.stop()
  try {
    await noneAnswers(lab, lab.backend, key)
    await noneAnswers(lab, await lab.open(), key)
  } finally {
    await engine.start()
  }
  await recovers(lab, lab.backend)
  await recovers(lab, await lab.open())
}

async function engineSilent (lab: Lab, engine: SuiteEngine) {
  const key = newKey()
  await lab.put(key)
  await engine.pause!()
  try {
    await noneAnswers(lab, lab.backend, key)
  } finally {
    await engine.resume!()
  }
  await recovers(lab, lab.backend)
}

/**
 * A failure must not look like an answer: 'missing' would end a session. No answer in time is as good as a
 * rejection, since the core bounds each call.
 */
async function noneAnswers ({ options, record, index, after }: Lab, backend: SessionBackend, key: string) {
  const calls: Record<string, Promise<unknown>> = {
    read: backend.read(key),
    create: backend.create(newKey(), record('late'), index()),
    update: backend.update(key, record('late'), index(), 'version'),
    touch: backend.touch(key, after(60)),
    remove: backend.remove(key),
    'conditional remove': backend.remove(key, 'version'),
    ...backend.keysOf && { keysOf: collect(backend.keysOf('ada')) },
    ...backend.removeAllOf && { removeAllOf: backend.removeAllOf('ada') },
    ...backend.sweep && { sweep: backend.sweep(after(0), 10) },
    ...backend.count && { count: backend.count() },
    ...backend.ping && { ping: backend.ping() }
  }
  const settled = await Promise.allSettled(
    Object.values(calls).map(call => bounded(call, options.timeout ?? 5)))
  const answered = Object.keys(calls).filter((_, i) => settled[i].status === 'fulfilled')
  assert.deepEqual({ answered }, { answered: [] })
}

async function recovers (lab: Lab, backend: SessionBackend) {
  const { options: { timeout = 5 }, record, index, after } = lab
  const { get } = lab.on(backend)
  const key = newKey()
  const deadline = performance.now() + timeout * 4000
  for (;;) {
    try {
      assert.equal(await bounded(backend.read(key), timeout), null)
      break
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(50)
    }
  }
  const within = <T> (call: Promise<T>) => bounded(call, timeout)
  assert.equal(await within(backend.create(key, record('new'), index())), true)
  const { version } = await within(get(key))
  assert.equal(await within(backend.update(key, record('newer'), index(), version)), 'ok')
  assert.equal(await within(backend.touch(key, after(60))), true)
  sameValue((await within(get(key))).value, 'newer')
  assert.equal(await within(backend.remove(key)), 'ok')
}

function checkSweep (check: Check) {
  check('S25 sweep removes only expired records, in batches, and then none', async (lab) => {
    const { backend, clock, put, get, absent } = lab
    const [live, ...expiring] = newKeys(8)
    await put(live, 'live', 'ada', 600)
    for (const key of expiring) await put(key, 'old', 'ada', 60)
    assert.equal(await backend.sweep!(clock.now(), 10), 0)
    clock.advance(60)
    const removed = []
    for (let i = 0; i < 4; i++) removed.push(await backend.sweep!(clock.now(), 3))
    assert.deepEqual(removed, [3, 3, 1, 0])
    await absent(...expiring)
    await get(live)
    clock.advance(-60)
    await absent(...expiring)
    await get(live)
  })

  check('S25 sweep beside touch and update: what they kept stays', async (lab) => {
    const peers = await lab.peers()
    for (let round = 0; round < 20; round++) {
      const keys = newKeys(10)
      const versions = await Promise.all(keys.map(key => lab.put(key, 'data', 'ada', 60)))
      const soon = lab.after(60)
      const [, ...kept] = await Promise.all([
        peers[1].sweep!(soon, 100),
        ...keys.map((key, i) => i % 2 === 0
          ? peers[0].touch(key, lab.after(600))
          : peers[0].update(key, lab.record('data'), lab.index('ada'), versions[i]))
      ])
      for (const [i, key] of keys.entries()) {
        if (kept[i] === true || kept[i] === 'ok') await lab.get(key)
        else await lab.absent(key)
      }
    }
  })
}

async function counts ({ backend, clock, record, index, put }: Lab) {
  const [key, other, expiring] = newKeys(3)
  assert.equal(await backend.count!(), 0)
  const version = await put(key, 'data', 'ada')
  await put(other, 'data')
  await put(expiring, 'data', null, 60)
  await backend.update(key, record('data'), index('ada'), version)
  assert.equal(await backend.count!(), 3)
  clock.advance(60)
  assert.equal(await backend.count!(), 2)
  await backend.remove(key)
  assert.equal(await backend.count!(), 1)
}

async function closes ({ store }: BackendSuite) {
  const space = newSpace()
  const use = async () => {
    const { backend, close } = await openBackend(store(space))
    await backend.read(newKey())
    await Promise.all([close(), close()])
    await close()
  }
  const unused = await openBackend(store(space))
  await unused.close()
  await use()
  const before = process.getActiveResourcesInfo()
  await use()
  const deadline = performance.now() + 3000
  while (added(before).length > 0 && performance.now() < deadline) await sleep(20)
  assert.deepEqual({ alive: added(before) }, { alive: [] })
}

/** What keeps the event loop running and did not before. */
function added (before: string[]) {
  const known = [...before]
  return process.getActiveResourcesInfo().filter(kind => {
    const at = known.indexOf(kind)
    if (at >= 0) known.splice(at, 1)
    return at < 0
  })
}

async function secondInstance (lab: Lab) {
  const { backend: one, record, index, after, holds, absent } = lab
  const two = await lab.open()
  const seenByTwo = lab.on(two)
  const key = newKey()
  await two.read(key)
  await lab.put(key, 'first', 'ada', 60)
  if (two.keysOf !== undefined) assert.equal((await collect(two.keysOf('ada'))).length, 1)
  for (const value of ['second', 'third', 'fourth']) {
    const { version } = await seenByTwo.get(key)
    const written = record(value, 600)
    assert.equal(await two.update(key, written, index('ada'), version), 'ok')
    await holds(key, written)
    assert.equal(await two.touch(key, after(1200)), true)
    await holds(key, { value, expiresAt: after(1200) })
    assert.equal(await one.touch(key, after(60)), true)
    await seenByTwo.holds(key, { value, expiresAt: after(60) })
  }
  assert.equal(await two.remove(key), 'ok')
  await absent(key)
  assert.equal(await one.create(key, record('new'), index()), true)
  assert.equal(await two.create(key, record('newer'), index()), false)
  sameValue((await seenByTwo.get(key)).value, 'new')
}

async function tenInstances (lab: Lab) {
  const space = newSpace()
  const keys = newKeys(10)
  const backends = await Promise.all(keys.map(async (key) => {
    const backend = await lab.open(space)
    assert.equal(await backend.create(key, lab.record(key), lab.index('ada')), true)
    return backend
  }))
  for (const backend of backends) {
    for (const key of keys) sameValue((await lab.on(backend).get(key)).value, key)
  }
}
