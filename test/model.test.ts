import type { Session } from '../lib/index.js'
import type { Act } from './helpers/model.js'
import type { HeldVisit } from './helpers/pause.js'
import type { Script } from './helpers/stage.js'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'tap'
import { jsonCodec } from '../lib/records/codec.js'
import { sha256 } from '../lib/base/id.js'
import { TestClock } from '../lib/testing/clock.js'
import { randomness } from './endurance/size.js'
import { memoryBackend } from './helpers/backends.js'
import { ModelRequest, ModelStore, limits } from './helpers/model.js'
import { heldVisit } from './helpers/pause.js'
import { setCookies, startStage } from './helpers/stage.js'

const verb = fc.constantFrom(
  'set', 'set', 'delete', 'push', 'count', 'count',
  'regenerate', 'keep', 'login', 'logout', 'save', 'save', 'reload', 'touch'
)
const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.record({ do: verb, key: fc.constantFrom('x', 'y') }) as fc.Arbitrary<Act>, { maxLength: 5, size: 'max' }
)
const failed = fc.integer({ max: 5, min: 0 }).map(n => n === 0)
const slot = fc.nat(1)
/** The requests of one browser: whole ones, and two that stand still while others go on. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ step: fc.constant('request'), slot, acts, failed }) },
  { weight: 4, arbitrary: fc.record({ step: fc.constant('arrive'), slot, acts, failed }) },
  { weight: 4, arbitrary: fc.record({ step: fc.constant('finish'), slot, acts, failed }) },
  { weight: 3, arbitrary: fc.record({ step: fc.constantFrom(1, 59, 60, 900, 1799, 1800) }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('new browser') }) }
) as fc.Arbitrary<Step>
type Step =
  | { step: 'request' | 'arrive' | 'finish', slot: number, acts: Act[], failed: boolean }
  /** Seconds that go by. */
  | { step: number }
  | { step: 'new browser' }

test('any requests in any order, two of them interleaved: what is stored, seen and told', async t => {
  const how = randomness(t, 300, 20_000)
  const stories = fc.array(step, { minLength: 1, maxLength: 40, size: 'max' })
  await fc.assert(fc.asyncProperty(stories, play), how)
  t.pass(`${how.numRuns} stories`)
})

interface Standing { visit: HeldVisit, request: ModelRequest, errors: unknown[] }

async function play (steps: Step[]): Promise<void> {
  const clock = new TestClock()
  const backend = await memoryBackend(clock)
  const stage = await startStage({ teardown () {} }, { store: { type: 'custom', backend }, clock, ...limits })
  const model = new ModelStore(clock)
  /** The key of each session that the model has. */
  const keys = new Map<number, string>()
  const standing: Array<Standing | undefined> = []
  let cookie = ''
  let cookieInModel: number | null = null
  let values = 0

  /** Runs the acts on the session and on the model, and compares what they show. */
  function perform (acts: Act[], request: ModelRequest, errors: unknown[], isFailed = false): Script {
    return async (session, _request, reply) => {
      try {
        for (const act of acts) {
          values++
          request.act(act, values)
          const done = performOne(session, act, values)
          if (act.do === 'save' && request.isLost) await assert.rejects(done, { code: 'FST_SESSIONS_GONE' })
          else await done
          compare(session, request)
        }
      } catch (error) {
        errors.push(error)
      }
      if (isFailed) reply.code(500)
      return 'done'
    }
  }

  function compare (session: Session, request: ModelRequest): void {
    assert.deepEqual({ ...session.data() }, request.view())
    assert.equal(session.isNew, request.id === null)
    if (request.id !== null) learn(request.id, session.id!)
  }

  function learn (id: number, key: string): void {
    assert.equal(keys.get(id) ?? key, key, 'a session has a new id only when that is asked for')
    keys.set(id, key)
  }

  async function finish ({ visit, request, errors }: Standing, acts: Act[], failed: boolean) {
    const response = await visit.finish(perform(acts, request, errors, failed))
    if (errors.length > 0) throw errors[0]
    request.commit(failed)
    assert.equal(response.statusCode, failed ? 500 : request.isLost ? 409 : 200)
    const lines = setCookies(response)
    if (request.told === null) return assert.deepEqual(lines, [])
    assert.equal(lines.length, 1)
    const [pair, ...attributes] = lines[0].split('; ')
    assert.equal(attributes.includes('Max-Age=0'), request.told === 'forget')
    cookie = request.told === 'forget' ? '' : pair
    cookieInModel = request.told === 'forget' ? null : request.told
    if (cookieInModel !== null) learn(cookieInModel, sha256(cookie.split('=')[1]))
  }

  try {
    for (const step of steps) {
      if (typeof step.step === 'number') clock.advance(step.step)
      else if (step.step === 'new browser') [cookie, cookieInModel] = ['', null]
      else if ('slot' in step) {
        const { slot, acts, failed } = step
        if (step.step !== 'finish') {
          if (step.step === 'arrive' && standing[slot] !== undefined) continue
          const request = new ModelRequest(model, cookieInModel)
          const errors: unknown[] = []
          const visit = await heldVisit(stage, cookie, perform(acts, request, errors))
          if (step.step === 'arrive') standing[slot] = { visit, request, errors }
          else await finish({ visit, request, errors }, [], failed)
        } else if (standing[slot] !== undefined) {
          const arrived = standing[slot]
          standing[slot] = undefined
          await finish(arrived, acts, failed)
        }
      }
      await compareStores()
    }
  } finally {
    await Promise.all(standing.map(request => request?.visit.finish()))
    await stage.app.close()
  }

  async function compareStores () {
    assert.equal(await backend.count!(), model.live().length)
    for (const id of model.live()) {
      const record = await backend.read(keys.get(id)!)
      assert.deepEqual(record && { ...jsonCodec.decode(record.value)!, expiresAt: record.expiresAt }, {
        ...model.get(id), rememberedUntil: null, boundTo: null, client: undefined, renewal: undefined
      })
    }
  }
}

async function performOne (session: Session, { do: verb, key }: Act, value: number): Promise<unknown> {
  switch (verb) {
    case 'set': return session.set(key, [value])
    case 'delete': return session.delete(key)
    case 'push': return (session.get(key) as number[] | undefined)?.push(value)
    case 'count': return session.update('n', n => Number(n ?? 0) + 1)
    case 'keep': return session.regenerate([key])
    case 'login': return session.login(`user${value}`)
    default: return session[verb]()
  }
}
