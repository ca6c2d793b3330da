import assert from 'node:assert/strict'
import type { RecordIndex, StoredRecord, WriteResult } from '../../types/store.js'
import type { BackendSuite, Check, Lab } from './backend-lab.js'
import { collect, newKeys, sameValue } from './backend-lab.js'

/** Which version a conditional write asks for. */
type Condition = 'current' | 'another'

interface Written { key: number, value: number, principal: string | null, seconds: number }

/** One step of a random sequence. Keys and values are numbered, so that a failure prints short. */
type Step =
  | { verb: 'create' } & Written
  | { verb: 'update', version: Condition } & Written
  | { verb: 'touch', key: number, seconds: number }
  | { verb: 'remove', key: number, version: Condition | 'any' }
  | { verb: 'keysOf', principal: string }
  | { verb: 'removeAllOf', principal: string, except: number | null }
  | { verb: 'sweep', limit: number }
  | { verb: 'count' }
  | { verb: 'advance', seconds: number }

type Steps = { [V in Step['verb']]: (step: Extract<Step, { verb: V }>) => unknown }

/** S30: whatever is done in whatever order, the backend does what a Map would. */
export function checkModel (options: BackendSuite, check: Check): void {
  check('S30 random sequences of all verbs against a model', async (lab) => {
    const { default: fc } = await import('fast-check')
    const key = fc.nat(2)
    const who = fc.constantFrom('ada', 'ad*')
    const seconds = fc.constantFrom(-1, 0, 60, 60, 600, 600)
    const version = fc.constantFrom('current' as const, 'another' as const)
    const written = { key, value: fc.nat(3), principal: fc.option(who), seconds }
    const verb = <V extends Step['verb']> (name: V) => fc.constant(name)
    const step = fc.oneof(
      fc.record({ verb: verb('create'), ...written }),
      fc.record({ verb: verb('update'), version, ...written }),
      fc.record({ verb: verb('touch'), key, seconds }),
      fc.record({ verb: verb('remove'), key, version: fc.oneof(version, fc.constant('any' as const)) }),
      fc.record({ verb: verb('keysOf'), principal: who }),
      fc.record({ verb: verb('removeAllOf'), principal: who, except: fc.option(key) }),
      fc.record({ verb: verb('sweep'), limit: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ verb: verb('count') }),
      fc.record({ verb: verb('advance'), seconds: fc.constantFrom(1, 59, 60, 600) })
    )
    const sequences = fc.array(step, { maxLength: 40, size: 'max' })
    await fc.assert(fc.asyncProperty(sequences, sequence => follow(lab, sequence)),
      { numRuns: options.numRuns ?? 50, seed: options.seed })
  })
}

/** Takes the steps on fresh keys and leaves nothing behind, so that sequences do not see each other. */
async function follow (lab: Lab, sequence: Step[]) {
  const { backend, clock } = lab
  const keys = newKeys(3)
  const model = createModel(lab, keys)
  try {
    for (const step of sequence) {
      await (model.steps[step.verb] as (step: Step) => unknown)(step)
      await model.agrees()
    }
  } finally {
    for (const key of keys) await backend.remove(key)
    await backend.sweep?.(clock.now(), 100)
  }
}

function createModel ({ backend, clock, after, record, index }: Lab, keys: string[]) {
  const entries = new Map<string, StoredRecord & RecordIndex>()

  function live (key: string) {
    const entry = entries.get(key)
    return entry !== undefined && entry.expiresAt > clock.now() ? entry : undefined
  }

  function outcome (key: string, version: Condition | 'any'): WriteResult {
    if (live(key) === undefined) return 'missing'
    return version === 'another' ? 'conflict' : 'ok'
  }

  const liveOf = (principal: string) => keys.filter(key => live(key)?.principal === principal)
  const versionOf = (key: string, version: Condition) =>
    version === 'current' ? entries.get(key)?.version ?? 'none' : 'another'

  async function keep (key: string, { value, expiresAt }: StoredRecord, written: RecordIndex) {
    const version = (await backend.read(key))?.version ?? 'none'
    entries.set(key, { value, version, expiresAt, ...written })
  }

  const steps: Steps = {
    async create ({ key: number, value, principal, seconds }) {
      const key = keys[number]
      const free = live(key) === undefined
      const written = record(valueOf(value), seconds)
      assert.equal(await backend.create(key, written, index(principal)), free)
      if (free) await keep(key, written, index(principal))
    },

    async update ({ key: number, version, value, principal, seconds }) {
      const key = keys[number]
      const expected = outcome(key, version)
      const written = record(valueOf(value), seconds)
      assert.equal(await backend.update(key, written, index(principal), versionOf(key, version)), expected)
      if (expected === 'ok') await keep(key, written, index(principal))
    },

    async touch ({ key: number, seconds }) {
      const entry = live(keys[number])
      assert.equal(await backend.touch(keys[number], after(seconds)), entry !== undefined)
      if (entry !== undefined) entry.expiresAt = after(seconds)
    },

    async remove ({ key: number, version }) {
      const key = keys[number]
      const expected = outcome(key, version)
      const removed = version === 'any' ? backend.remove(key) : backend.remove(key, versionOf(key, version))
      assert.equal(await removed, expected)
      if (expected === 'ok') entries.delete(key)
    },

    async keysOf ({ principal }) {
      if (backend.keysOf === undefined) return
      const found = await collect(backend.keysOf(principal))
      assert.deepEqual(found.map(({ key }) => key).sort(), liveOf(principal).sort())
      for (const { key, createdAt, expiresAt } of found) {
        const entry = entries.get(key)
        assert.deepEqual([createdAt, expiresAt], [entry?.createdAt, entry?.expiresAt])
      }
    },

    async removeAllOf ({ principal, except }) {
      if (backend.removeAllOf === undefined) return
      const spared = except === null ? undefined : keys[except]
      const doomed = liveOf(principal).filter(key => key !== spared)
      assert.equal(await backend.removeAllOf(principal, spared), doomed.length)
      for (const key of doomed) entries.delete(key)
    },

    async sweep ({ limit }) {
      if (backend.sweep === undefined) return
      const expired = [...entries.keys()].filter(key => live(key) === undefined).length
      const removed = await backend.sweep(clock.now(), limit)
      assert.ok(removed <= Math.min(limit, expired), 'no more swept than the limit and the expired ones')
    },

    async count () {
      if (backend.count === undefined) return
      assert.equal(await backend.count(), keys.filter(key => live(key) !== undefined).length)
    },

    advance ({ seconds }) {
      clock.advance(seconds)
    }
  }

  /** Every key reads as the model has it. */
  async function agrees () {
    for (const key of keys) {
      const entry = live(key)
      const found = await backend.read(key)
      if (entry === undefined || found === null) {
        assert.deepEqual({ live: found !== null }, { live: entry !== undefined })
        continue
      }
      sameValue(found.value, entry.value)
      assert.deepEqual([found.version, found.expiresAt], [entry.version, entry.expiresAt])
    }
  }

  return { steps, agrees }
}

function valueOf (number: number): string | Uint8Array {
  return number % 2 === 0 ? `value ${number}` : Uint8Array.of(number, 0, 255)
}
