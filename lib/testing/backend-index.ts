import assert from 'node:assert/strict'
import type { SessionBackend } from '../../types/store.js'
import type { BackendSuite, Check, Lab } from './backend-lab.js'
import { collect, inRounds, newKey, newKeys, sameValue, stagger } from './backend-lab.js'
import { principals } from './backend-samples.js'

type Skip = (name: string, reason: string) => void

/** S29: the user index. */
export function checkIndex ({ abilities }: BackendSuite, check: Check, skip: Skip): void {
  if (!abilities.includes('keysOf')) {
    skip('S29 keysOf', 'the store cannot list the sessions of a principal')
  } else {
    check('S29 keysOf: the live sessions of one principal, and what the index carries', listed)
    check('S29 keysOf follows a principal that changes', follows)
    check('S29 keysOf shrinks on remove and expiry, and grows again', shrinks)
    check('S29 keysOf takes any string for a principal', anyPrincipal)
    check('S29 keysOf of a thousand sessions, while they are removed', many)
  }
  if (!abilities.includes('removeAllOf')) {
    skip('S29 removeAllOf', 'the store cannot remove the sessions of a principal')
  } else {
    check('S29 removeAllOf: all but one, and nobody else\'s', removesAll)
    check('S29 removeAllOf takes any string for a principal', removesAnyPrincipal)
    check('S29 removeAllOf goes by the principal of now', removesByPrincipalOfNow)
    check('S29 removeAllOf races update and touch: never alive afterwards', removeAllRaces)
  }
}

async function keysOf (backend: SessionBackend, principal: string): Promise<string[]> {
  const items = await collect(backend.keysOf!(principal))
  return items.map(({ key }) => key).sort()
}

async function listed ({ backend, clock, index, after, put, get }: Lab) {
  const [one, two, foreign, nobodys] = newKeys(4)
  assert.deepEqual(await keysOf(backend, 'ada'), [])
  await put(one, 'one', 'ada', 600)
  await put(foreign, 'foreign', 'bob')
  await put(nobodys, 'nobodys')
  const { createdAt } = index()
  clock.advance(1)
  await put(two, Uint8Array.of(2), 'ada', 60)
  assert.equal(await backend.touch(one, after(1200)), true)

  const found = await collect(backend.keysOf!('ada'))
  assert.deepEqual(found.map(({ key }) => key).sort(), [one, two].sort())
  for (const { key, record, ...rest } of found) {
    assert.deepEqual(rest, key === one
      ? { createdAt, expiresAt: after(1200) }
      : { createdAt: clock.now(), expiresAt: after(60) })
    if (record === undefined) continue
    const { value, ...others } = await get(key)
    sameValue(record.value, value)
    assert.deepEqual({ version: record.version, expiresAt: record.expiresAt }, others)
  }
  assert.deepEqual(await keysOf(backend, 'bob'), [foreign])
}

async function follows ({ backend, record, index, put, get }: Lab) {
  const [key, other] = newKeys(2)
  await put(key)
  await put(other, 'data', 'b')
  const update = async (principal: string | null) =>
    assert.equal(await backend.update(key, record('data'), index(principal), (await get(key)).version), 'ok')
  await update('a')
  assert.deepEqual([await keysOf(backend, 'a'), await keysOf(backend, 'b')], [[key], [other]])
  await update('b')
  assert.deepEqual([await keysOf(backend, 'a'), await keysOf(backend, 'b')], [[], [key, other].sort()])
  await update('b')
  assert.deepEqual([await keysOf(backend, 'a'), await keysOf(backend, 'b')], [[], [key, other].sort()])
  await update(null)
  assert.deepEqual([await keysOf(backend, 'a'), await keysOf(backend, 'b')], [[], [other]])
  assert.equal(await backend.update(key, record('late'), index('a'), 'another'), 'conflict')
  assert.equal(await backend.update(newKey(), record('late'), index('a'), 'another'), 'missing')
  assert.deepEqual(await keysOf(backend, 'a'), [])
}

async function shrinks ({ backend, clock, put, after, get }: Lab) {
  const [removed, conditional, expired, touched, live] = newKeys(5)
  for (const key of [removed, conditional, live]) await put(key, 'data', 'ada')
  await put(expired, 'data', 'ada', 60)
  await put(touched, 'data', 'ada', 60)
  await backend.remove(removed)
  await backend.remove(conditional, (await get(conditional)).version)
  await backend.touch(touched, after(120))
  assert.deepEqual(await keysOf(backend, 'ada'), [expired, touched, live].sort())
  clock.advance(60)
  assert.deepEqual(await keysOf(backend, 'ada'), [touched, live].sort())
  clock.advance(60)
  assert.deepEqual(await keysOf(backend, 'ada'), [live])
  await put(removed, 'data', 'bob')
  await put(expired, 'data', 'bob')
  await put(touched, 'data', 'ada')
  assert.deepEqual(await keysOf(backend, 'ada'), [touched, live].sort())
  assert.deepEqual(await keysOf(backend, 'bob'), [removed, expired].sort())
}

async function anyPrincipal ({ backend, put }: Lab) {
  const keys = newKeys(principals.length)
  for (const [i, principal] of principals.entries()) await put(keys[i], 'data', principal)
  for (const [i, principal] of principals.entries()) {
    assert.deepEqual(await keysOf(backend, principal), [keys[i]])
  }
  assert.deepEqual(await keysOf(backend, ''), [])
}

async function many ({ backend, record, index, absent }: Lab) {
  const keys = newKeys(1000)
  await inRounds(keys.length, async i => {
    assert.equal(await backend.create(keys[i], record('data'), index('ada')), true)
  })
  const seen = new Set<string>()
  for await (const { key } of backend.keysOf!('ada')) {
    seen.add(key)
    await backend.remove(key)
  }
  assert.equal(seen.size, keys.length)
  assert.deepEqual(await keysOf(backend, 'ada'), [])
  await absent(keys[0], keys[999])
}

async function removesAll ({ backend, clock, put, get, absent }: Lab) {
  const [one, two, kept, foreign, nobodys, expired] = newKeys(6)
  assert.equal(await backend.removeAllOf!('ada'), 0)
  for (const key of [one, two, kept]) await put(key, 'data', 'ada')
  await put(foreign, 'data', 'bob')
  await put(nobodys)
  await put(expired, 'data', 'ada', 60)
  clock.advance(60)
  assert.equal(await backend.removeAllOf!('ada', kept), 2)
  await absent(one, two, expired)
  assert.equal(await backend.removeAllOf!('ada', kept), 0)
  assert.equal(await backend.removeAllOf!('ada', foreign), 1)
  await absent(kept)
  await get(foreign)
  await get(nobodys)
}

async function removesAnyPrincipal ({ backend, put, get, absent }: Lab) {
  const keys = newKeys(principals.length)
  for (const [i, principal] of principals.entries()) await put(keys[i], 'data', principal)
  for (const [i, principal] of principals.entries()) {
    assert.equal(await backend.removeAllOf!(principal), 1)
    await absent(keys[i])
    if (i + 1 < keys.length) await get(keys[i + 1])
  }
}

async function removesByPrincipalOfNow ({ backend, clock, record, index, put, get, absent }: Lab) {
  const [changed, left, again, reborn] = newKeys(4)
  const version = await put(changed, 'data', 'ada')
  assert.equal(await backend.update(changed, record('data'), index('bob'), version), 'ok')
  assert.equal(await backend.update(left, record('data'), index(), await put(left, 'data', 'ada')), 'ok')
  await put(again, 'data', 'ada')
  await backend.remove(again)
  await put(again, 'data', 'bob')
  await put(reborn, 'data', 'ada', 60)
  clock.advance(60)
  await put(reborn, 'data', 'bob')
  assert.equal(await backend.removeAllOf!('ada'), 0)
  for (const key of [changed, left, again, reborn]) await get(key)
  assert.equal(await backend.removeAllOf!('bob'), 3)
  await absent(changed, again, reborn)
  await get(left)
}

async function removeAllRaces (lab: Lab) {
  const [one, two] = await lab.peers()
  await inRounds(100, async (round) => {
    const principal = `ada ${round}`
    const keys = newKeys(3)
    const versions: string[] = []
    for (const key of keys) versions.push(await lab.put(key, 'data', principal))
    await Promise.all([
      stagger(round).then(() => one.removeAllOf!(principal)),
      stagger(round >> 2).then(() => Promise.all([
        two.update(keys[0], lab.record('late'), lab.index(principal), versions[0]),
        two.touch(keys[1], lab.after(7200))
      ]))
    ])
    await lab.absent(...keys)
    if (lab.backend.keysOf !== undefined) assert.deepEqual(await keysOf(lab.backend, principal), [])
  })
}
