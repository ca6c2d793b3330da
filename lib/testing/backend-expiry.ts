import assert from 'node:assert/strict'
import { NEVER } from '../base/clock.js'
import type { Check } from './backend-lab.js'
import { dueAt, newKey, newKeys } from './backend-lab.js'

const DAY = 86_400

/** S10 to S15: a record is missing from `expiresAt` on, whatever the engine has removed. */
export function checkExpiry (check: Check) {
  check('S10 an expired record is missing, and its key free', async (lab) => {
    const { backend, clock, record, index, put, holds, absent } = lab
    const key = newKey()
    const old = await put(key, 'old', 'ada', 60)
    clock.advance(61)
    await absent(key)
    const written = record('new')
    assert.equal(await backend.create(key, written, index()), true)
    await holds(key, written)
    assert.equal(await backend.update(key, record('late'), index(), old), 'conflict')
    await holds(key, written)
  })

  check('S11 the instant of expiry is expired, the one before is not', async (lab) => {
    const key = newKey()
    await lab.put(key, 'data', null, 60.3)
    const touched = lab.after(90.7)
    for (const expiresAt of [lab.after(60.3), touched]) {
      lab.clock.advance((dueAt(lab.options, expiresAt) - lab.clock.now() - 1) / 1000)
      await lab.get(key)
      if (expiresAt !== touched) assert.equal(await lab.backend.touch(key, touched), true)
    }
    lab.clock.advance(0.001)
    await lab.absent(key)
  })

  check('S12 update, touch and remove of an expired record: missing', async (lab) => {
    const { backend, clock, record, index, after, put, absent } = lab
    const key = newKey()
    const version = await put(key, 'data', null, 60)
    clock.advance(60)
    assert.equal(await backend.update(key, record('late'), index(), version), 'missing')
    assert.equal(await backend.update(key, record('late'), index(), 'another'), 'missing')
    await absent(key)
    assert.equal(await backend.touch(key, after(60)), false)
    await absent(key)
    assert.equal(await backend.remove(key, version), 'missing')
    assert.equal(await backend.remove(key), 'missing')
    await absent(key)
  })

  check('S13 an expiry shortened, lengthened, ended', async (lab) => {
    const { backend, clock, record, index, after, put, get, absent } = lab
    const [touched, updated, created] = newKeys(3)
    await put(touched, 'data', null, 600)
    let version = await put(updated, 'data', null, 600)
    for (const seconds of [60, 3600, 120]) {
      assert.equal(await backend.touch(touched, after(seconds)), true)
      assert.equal(await backend.update(updated, record('data', seconds), index(), version), 'ok')
      version = (await get(updated)).version
      clock.advance(seconds - 2)
      await get(touched)
      await get(updated)
    }
    clock.advance(3)
    await absent(touched, updated)

    await put(touched)
    version = await put(updated)
    assert.equal(await backend.touch(touched, after(-1)), true)
    assert.equal(await backend.update(updated, record('data', -1), index(), version), 'ok')
    assert.equal(await backend.create(created, record('data', -1), index()), true)
    await absent(touched, updated, created)
  })

  check('S14 an expiry beyond 24.8 days, 30 days, 2038 and for ever', async (lab) => {
    const { backend, clock, record, index, after, put, get, holds } = lab
    const warnings: Error[] = []
    const warned = (warning: Error) => warnings.push(warning)
    process.on('warning', warned)
    try {
      const key = newKey()
      let version = await put(key, 'data', null, 60)
      const distant = [after(25 * DAY), after(31 * DAY), after(400 * DAY), Date.UTC(2039, 1), NEVER]
      for (const expiresAt of distant) {
        assert.equal(await backend.touch(key, expiresAt), true)
        clock.advance(DAY)
        await holds(key, { value: 'data', expiresAt })
        assert.equal(await backend.update(key, { ...record('data'), expiresAt }, index(), version), 'ok')
        clock.advance(DAY)
        await holds(key, { value: 'data', expiresAt })
        version = (await get(key)).version
        const created = newKey()
        assert.equal(await backend.create(created, { ...record('data'), expiresAt }, index()), true)
        await holds(created, { value: 'data', expiresAt })
      }
      await new Promise(resolve => setImmediate(resolve))
      assert.deepEqual(warnings.filter(({ name }) => name === 'TimeoutOverflowWarning'), [])
    } finally {
      process.off('warning', warned)
    }
  })

  check('S15 an expiry below a second is rounded neither to none nor beyond a second', async (lab) => {
    const key = newKey()
    for (const seconds of [0.9, 0.5]) {
      const begun = performance.now()
      await lab.put(key, 'data', null, seconds).catch(error => {
        assert.ok(performance.now() - begun >= seconds * 1000, error.message)
      })
      lab.clock.advance((dueAt(lab.options, lab.after(seconds)) - lab.clock.now()) / 1000)
      await lab.absent(key)
    }
  })
}
