import type { Session } from '../../lib/index.js'
import type { Act } from './several-model.js'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'tap'
import { TestClock } from '../../lib/testing/clock.js'
import { memoryStore } from '../../stores/memory.js'
import { setCookies } from '../helpers/stage.js'
import { startVisits } from '../helpers/visits.js'
import { SeveralModel, order, parts } from './several-model.js'
import { randomness } from './size.js'

type Step = { acts: Act[], failed: boolean } | { seconds: number } | { newBrowser: true }

const act = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('set', 'delete'), key: fc.constantFrom('user', 'cart', 'token', 'x') }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('clear', 'regenerate', 'login', 'logout', 'save') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end'), part: fc.constantFrom(...order) }) }
) as fc.Arbitrary<Act>
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ acts: fc.array(act, { maxLength: 5, size: 'max' }), failed: fc.nat(4).map(n => n === 0) }) },
  { weight: 3, arbitrary: fc.record({ seconds: fc.constantFrom(1, 299, 300, 499, 500, 999, 1000) }) },
  { weight: 1, arbitrary: fc.record({ newBrowser: fc.constant(true as const) }) }
) as fc.Arbitrary<Step>

test('four sessions, one of them in its cookie, one bound to another: any requests of one browser', async t => {
  const how = randomness(t, 200, 20_000)
  const stories = fc.array(step, { minLength: 1, maxLength: 25, size: 'max' })
  await fc.assert(fc.asyncProperty(stories, play), how)
  t.pass(`${how.numRuns} stories`)
})

async function play (steps: Step[]): Promise<void> {
  const clock = new TestClock()
  const visit = await startVisits({ teardown () {} }, {
    clock,
    secret: 'a secret of four sessions, of 32 bytes',
    touchInterval: 0,
    absoluteTimeout: null,
    store: memoryStore(),
    sessions: Object.fromEntries(Object.entries(parts).map(([name, { fields, idle, ...bound }]) => {
      const own = name === 'token' ? { store: { type: 'cookie' } } : {}
      return [name, { fields, idleTimeout: idle, ...bound, ...own }]
    }))
  })
  let model = new SeveralModel(clock)
  let value = 0
  try {
    for (const step of steps) {
      if ('seconds' in step) clock.advance(step.seconds)
      else if ('newBrowser' in step) {
        await visit.client.clear()
        model = new SeveralModel(clock)
      } else {
        const response = await visit(async (session, _request, reply) => {
          await session.load()
          model.begin()
          compare(session)
          for (const act of step.acts) {
            model.act(act, ++value)
            await perform(session, act, value)
            compare(session)
          }
          if (step.failed) reply.code(500)
        })
        model.commit(step.failed)
        assert.equal(response.statusCode, step.failed ? 500 : 200)
        const names = setCookies(response).map(line => line.split('=')[0])
        assert.equal(new Set(names).size, names.length, 'one cookie for each session')
      }
    }
  } finally {
    await visit.app.close()
  }

  function compare (session: Session): void {
    assert.deepEqual({ ...session.data() }, model.data())
    assert.equal(session.principal, model.principal)
    for (const name of order) assert.deepEqual({ ...session.part(name).data() }, model.data(name))
  }
}

async function perform (session: Session, act: Act, value: number): Promise<unknown> {
  switch (act.do) {
    case 'set': return session.set(act.key as string, value)
    case 'delete': return session.delete(act.key)
    case 'end': return session.part(act.part).destroy()
    case 'login': return session.login(String(value))
    default: return session[act.do]()
  }
}
