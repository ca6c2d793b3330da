import assert from 'node:assert/strict'
import type { Check } from './backend-lab.js'
import { collect, newKey, newKeys } from './backend-lab.js'
import { bytes, texts } from './backend-samples.js'

/** S1 to S9: one verb after the other. */
export function checkVerbs (check: Check): void {
  check('S1 read of a missing key: null', async ({ backend }) => {
    assert.equal(await backend.read(newKey()), null)
  })

  check('S2 create, then read: equal', async ({ backend, record, index, holds }) => {
    for (const value of [...texts, ...bytes]) {
      const key = newKey()
      const written = record(value)
      assert.equal(await backend.create(key, written, index()), true)
      await holds(key, written)
    }
  })

  check('S3 create on an existing key: false, nothing changed', async (lab) => {
    const { backend, record, index, put, get } = lab
    const key = newKey()
    await put(key, 'first', 'ada')
    const before = await get(key)
    assert.equal(await backend.create(key, record('second', 60), index('bob')), false)
    assert.deepEqual(await get(key), before)
    if (backend.keysOf === undefined) return
    assert.equal((await collect(backend.keysOf('bob'))).length, 0)
    assert.equal((await collect(backend.keysOf('ada'))).length, 1)
  })

  checkUpdate(check)
  checkTouchAndRemove(check)
}

function checkUpdate (check: Check) {
  check('S5 update: ok, version changed', async ({ backend, record, index, put, get, holds }) => {
    const key = newKey()
    const versions = new Set([await put(key, 'first', null, 60)])
    for (const value of ['second', 'second', 'third', Uint8Array.of(4), 'fifth']) {
      const written = record(value, 600 + versions.size)
      assert.equal(await backend.update(key, written, index('ada'), (await get(key)).version), 'ok')
      await holds(key, written)
      versions.add((await get(key)).version)
    }
    assert.equal(versions.size, 6, 'each write has a version of its own')
  })

  check('S5 update of another version: conflict, nothing changed', async (lab) => {
    const { backend, record, index, put, get } = lab
    const key = newKey()
    const first = await put(key, 'first')
    assert.equal(await backend.update(key, record('second'), index(), first), 'ok')
    const before = await get(key)
    for (const version of [first, record('').version, '', '0']) {
      assert.equal(await backend.update(key, record('late', 60), index('ada'), version), 'conflict')
    }
    assert.deepEqual(await get(key), before)
  })

  check('S5 a version never comes back, even when the key does', async (lab) => {
    const { backend, record, index, put, get } = lab
    const key = newKey()
    const first = await put(key, 'first')
    await backend.remove(key)
    await put(key, 'first')
    const before = await get(key)
    assert.equal(await backend.update(key, record('late'), index(), first), 'conflict')
    assert.equal(await backend.remove(key, first), 'conflict')
    assert.deepEqual(await get(key), before)
  })

  check('S6 update of a missing key: missing, still absent', async ({ backend, record, index, absent }) => {
    const key = newKey()
    const written = record('data')
    assert.equal(await backend.update(key, written, index('ada'), written.version), 'missing')
    await absent(key)
  })

  check('S7 update after remove: missing, still absent', async ({ backend, record, index, put, absent }) => {
    const key = newKey()
    const version = await put(key)
    assert.equal(await backend.remove(key), 'ok')
    assert.equal(await backend.update(key, record('late'), index(), version), 'missing')
    await absent(key)
  })
}

function checkTouchAndRemove (check: Check) {
  check('S8 touch moves the expiry and leaves data and version', async (lab) => {
    const { backend, put, get, after, holds } = lab
    const key = newKey()
    const version = await put(key, 'data', 'ada', 60)
    for (const seconds of [600, 30, 30, 3600]) {
      assert.equal(await backend.touch(key, after(seconds)), true)
      await holds(key, { value: 'data', expiresAt: after(seconds) })
      assert.equal((await get(key)).version, version)
    }
  })

  check('S8 touch of a missing key: false, creates nothing', async ({ backend, after, put, absent }) => {
    const [never, removed] = newKeys(2)
    await put(removed)
    await backend.remove(removed)
    assert.equal(await backend.touch(never, after(60)), false)
    assert.equal(await backend.touch(removed, after(60)), false)
    await absent(never, removed)
  })

  check('S9 remove: existing, missing, twice', async ({ backend, put, absent, get }) => {
    const [key, other] = newKeys(2)
    await put(other)
    assert.equal(await backend.remove(key), 'missing')
    await put(key)
    assert.equal(await backend.remove(key), 'ok')
    await absent(key)
    assert.equal(await backend.remove(key), 'missing')
    await get(other)
    await put(key)
  })

  check('S9 remove of one version: ok, conflict, missing', async (lab) => {
    const { backend, record, index, put, get, absent } = lab
    const key = newKey()
    const first = await put(key, 'first')
    assert.equal(await backend.update(key, record('second'), index(), first), 'ok')
    const before = await get(key)
    for (const version of [first, record('').version, '', '0']) {
      assert.equal(await backend.remove(key, version), 'conflict')
    }
    assert.deepEqual(await get(key), before)
    assert.equal(await backend.remove(key, before.version), 'ok')
    await absent(key)
    assert.equal(await backend.remove(key, before.version), 'missing')
  })
}
