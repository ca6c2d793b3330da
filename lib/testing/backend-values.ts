import assert from 'node:assert/strict'
import type { SessionBackend } from '../../types/store.js'
import type { Check, Lab } from './backend-lab.js'
import { collect, newKey, newKeys, sameValue } from './backend-lab.js'
import { principals } from './backend-samples.js'

/** S16 to S18 and S21: what a key, a space and a value may be. */
export function checkValues (check: Check): void {
  check('S16 keys that differ by case, begin with - or _, and principals of any content', async (lab) => {
    const { on, record, open, index, put, holds } = lab
    const hash = (start: string) => start + 'x'.repeat(43 - start.length)
    const keys = ['a', 'A', '-', '--', '_', '__', '-_', '0', 'aA', 'Aa', '__proto__'].map(hash)
    for (const key of keys) await put(key, `under ${key}`)
    for (const key of keys) await holds(key, { value: `under ${key}`, expiresAt: record('').expiresAt })
    for (const principal of principals) await put(newKey(), 'data', principal)

    const named = await open(undefined, 'a-Session_' + 'n'.repeat(54))
    assert.equal(await named.create(keys[0], record('named'), index(principals.at(-1))), true)
    sameValue((await on(named).get(keys[0])).value, 'named')
  })

  check('S17 two spaces do not see each other in any verb', async (lab) => {
    const shorter = lab.space.slice(0, -1)
    for (const other of [lab.space + '_', lab.space + 'x', shorter + '_', shorter]) {
      await isolated(lab, await lab.open(other))
    }
  })

  check('S17 two sessions in one space do not see each other in any verb', async (lab) => {
    const pairs = ['/auth', 'auth/', 'auth/auth2', 'auth2/auth', 'aut_/auth', 'AUTH/auth']
    for (const [name, other] of pairs.map(pair => pair.split('/'))) {
      await isolated(lab.on(await lab.open(undefined, name)), await lab.open(undefined, other))
    }
    await isolated(lab.on(await lab.open(lab.space, 'x')), await lab.open(lab.space + 'x', ''))
  })

  check('S18 a large value: a round trip, or an error that names the limit and nothing written', largeValues)
  check('S21 what was handed in or out is not shared with what is stored', copies)
}

/** Nothing of `lab.backend` is seen or changed through `other`. */
async function isolated (lab: Lab, other: SessionBackend) {
  const { backend, clock, record, index, after, put, get, absent } = lab
  const [key, expired] = newKeys(2)
  await other.sweep?.(clock.now(), 100)
  const version = await put(key, 'mine', 'ada', 3600)
  await put(expired, 'mine', 'ada', 60)
  clock.advance(61)
  const before = await get(key)
  assert.equal(await other.read(key), null)
  assert.equal(await other.touch(key, after(60)), false)
  assert.equal(await other.update(key, record('theirs'), index('ada'), version), 'missing')
  assert.equal(await other.remove(key), 'missing')
  assert.equal(await other.remove(key, version), 'missing')
  if (other.keysOf !== undefined) assert.deepEqual(await collect(other.keysOf('ada')), [])
  if (other.removeAllOf !== undefined) assert.equal(await other.removeAllOf('ada'), 0)
  if (other.count !== undefined) assert.equal(await other.count(), 0)
  if (other.sweep !== undefined) assert.equal(await other.sweep(clock.now(), 100), 0)

  assert.equal(await other.create(key, record('theirs', 60), index('ada')), true)
  assert.deepEqual(await get(key), before)
  assert.equal(await backend.remove(key), 'ok')
  sameValue((await lab.on(other).get(key)).value, 'theirs')
  assert.equal(await other.remove(key), 'ok')
  await absent(key)
}

async function largeValues (lab: Lab) {
  const { options: { maxValue = Infinity }, backend, record, index, put, holds, absent } = lab
  const largest = Math.min(maxValue, 1_000_000)
  const large = ['x'.repeat(largest), 'ż'.repeat(largest / 2), Buffer.alloc(largest, 'x')]
  for (const value of large) {
    const key = newKey()
    const version = await put(key, value)
    const written = record(value)
    await holds(key, written)
    assert.equal(await backend.update(key, written, index(), version), 'ok')
    await holds(key, written)
    await backend.remove(key)
  }
  if (maxValue === Infinity) return

  const key = newKey()
  const version = await put(key, 'small')
  const tooLarge = ['x'.repeat(maxValue + 1), 'ż'.repeat(maxValue / 2 + 1), Buffer.alloc(maxValue + 1, 'x')]
  for (const value of tooLarge) {
    const other = newKey()
    const named = [/\d/, 'the error names the limit'] as const
    await assert.rejects(backend.create(other, record(value), index()), ...named)
    await absent(other)
    await assert.rejects(backend.update(key, record(value), index(), version), ...named)
    await holds(key, { value: 'small', expiresAt: record('').expiresAt })
  }
}

async function copies ({ backend, record, index, get, holds }: Lab) {
  const key = newKey()
  const written = record(Buffer.from([1, 2, 3]))
  const { expiresAt } = written
  const holder = index('ada')
  await backend.create(key, written, holder)
  spoil(written)
  holder.principal = 'eve'
  await holds(key, { value: Uint8Array.of(1, 2, 3), expiresAt })

  const read = await get(key)
  const { version } = read
  spoil(read)
  await holds(key, { value: Uint8Array.of(1, 2, 3), expiresAt })
  assert.equal((await get(key)).version, version)

  const updated = record(Buffer.from([4, 5, 6]))
  assert.equal(await backend.update(key, updated, index('ada'), version), 'ok')
  spoil(updated)
  await holds(key, { value: Uint8Array.of(4, 5, 6), expiresAt })

  if (backend.keysOf === undefined) return
  for (const item of await collect(backend.keysOf('ada'))) {
    if (item.record !== undefined) spoil(item.record)
    item.expiresAt = 0
  }
  await holds(key, { value: Uint8Array.of(4, 5, 6), expiresAt })
  assert.equal((await collect(backend.keysOf('eve'))).length, 0)
  assert.equal((await collect(backend.keysOf('ada')))[0]?.expiresAt, expiresAt)
}

function spoil (record: { value: string | Uint8Array, version: string, expiresAt: number }) {
  if (typeof record.value !== 'string') record.value.fill(0)
  Object.assign(record, { value: 'spoilt', version: 'spoilt', expiresAt: 0 })
}
