import assert from 'node:assert/strict'
import type { SessionBackend, WriteResult } from '../../types/store.js'
import type { Check, Lab } from './backend-lab.js'
import { inRounds, newKey, newKeys, sameValue, stagger } from './backend-lab.js'

/** S4 and S22 to S24: what one atomic operation of the engine decides, and check-then-write does not. */
export function checkRaces (check: Check, rounds: number): void {
  check('S4 twenty parallel creates of one key: one true, its record is there', async (lab) => {
    for (let round = 0; round < 5; round++) {
      const [key, expired] = newKeys(2)
      await lab.put(expired, 'old', 'ada', 60)
      lab.clock.advance(60)
      await oneCreates(lab, key)
      await oneCreates(lab, expired)
    }
  })

  check('S22 a hundred parallel updates of one version: one ok, its record is there', async (lab) => {
    const key = newKey()
    const version = await lab.put(key, 'first')
    const peers = await lab.peers()
    const results = await Promise.all(Array.from({ length: 100 }, async (_, i) => {
      await stagger(i)
      return peers[i % 2].update(key, lab.record(`by ${i}`), lab.index(), version)
    }))
    assert.deepEqual(results.filter(result => result !== 'conflict'), ['ok'])
    sameValue((await lab.get(key)).value, `by ${results.indexOf('ok')}`)
  })

  check('S22 a hundred read and increment: as many ok as the sum says, a version for each', increments)

  check('S23 update races remove: never alive afterwards', async (lab) => {
    await race(lab, rounds, async (key, version, [one, two], round) => {
      const [updated, removed] = await together(round,
        () => one.update(key, lab.record('late'), lab.index('ada'), version), () => two.remove(key))
      assert.ok(updated === 'ok' || updated === 'missing', `update: ${updated}`)
      assert.equal(removed, 'ok')
      await lab.absent(key)
    })
  })

  check('S23 update races remove of one version: only one of them is ok', async (lab) => {
    await race(lab, Math.min(rounds, 200), async (key, version, [one, two], round) => {
      const [updated, removed] = await together(round,
        () => one.update(key, lab.record('late'), lab.index('ada'), version), () => two.remove(key, version))
      assert.ok(updated !== 'ok' || removed !== 'ok', 'both were ok')
      await lab.holds(key, { value: 'late', expiresAt: lab.after(3600) }).then(
        () => assert.equal(updated, 'ok'), () => assert.equal(removed, 'ok'))
    })
  })

  check('S24 touch races remove: never alive afterwards', async (lab) => {
    await race(lab, rounds, async (key, _version, [one, two], round) => {
      const [, removed] = await together(round, () => one.touch(key, lab.after(7200)), () => two.remove(key))
      assert.equal(removed, 'ok')
      await lab.absent(key)
    })
  })

  check('S24 touch races update: the update is kept', async (lab) => {
    await race(lab, Math.min(rounds, 200), async (key, version, [one, two], round) => {
      const [touched, updated] = await together(round,
        () => one.touch(key, lab.after(7200)),
        () => two.update(key, lab.record('late'), lab.index(), version))
      assert.equal(touched, true)
      sameValue((await lab.get(key)).value, updated === 'ok' ? 'late' : 'first')
    })
  })
}

async function oneCreates (lab: Lab, key: string) {
  const peers = await lab.peers()
  const created = await Promise.all(Array.from({ length: 20 }, (_, i) =>
    peers[i % 2].create(key, lab.record(`by ${i}`), lab.index())))
  assert.equal(created.filter(Boolean).length, 1)
  sameValue((await lab.get(key)).value, `by ${created.indexOf(true)}`)
}

async function increments (lab: Lab) {
  const key = newKey()
  const versions = new Map([[await lab.put(key, '0'), '0']])
  const peers = await lab.peers()
  const results = await Promise.all(Array.from({ length: 100 }, async (_, i): Promise<WriteResult> => {
    await stagger(i)
    const read = await lab.get(key)
    const sum = String(read.value)
    assert.equal(versions.get(read.version) ?? sum, sum, 'one version, one value')
    versions.set(read.version, sum)
    return peers[i % 2].update(key, lab.record(String(Number(sum) + 1)), lab.index(), read.version)
  }))
  const ok = results.filter(result => result === 'ok').length
  assert.ok(ok > 0, 'somebody wins')
  assert.equal(results.filter(result => result === 'conflict').length, 100 - ok)
  sameValue((await lab.get(key)).value, String(ok))
  assert.equal(new Set(versions.values()).size, versions.size, 'one value, one version')
}

type Peers = [SessionBackend, SessionBackend]

/** Each round with a fresh record whose value is 'first'. */
async function race (
  lab: Lab, rounds: number, run: (key: string, version: string, peers: Peers, round: number) => Promise<void>
) {
  const peers = await lab.peers()
  await inRounds(rounds, async (round) => {
    const key = newKey()
    await run(key, await lab.put(key, 'first'), peers, round)
  })
}

/** Starts both, one of them a little later: in even rounds the second. */
async function together<A, B> (
  round: number, one: () => Promise<A>, two: () => Promise<B>
): Promise<[A, B]> {
  const late = round >> 1
  return round % 2 === 0
    ? Promise.all([one(), stagger(late).then(two)])
    : Promise.all([stagger(late).then(one), two()])
}
