import type { CookieChange, SessionSettings } from '../lib/session/commit.js'
import type { Situation } from '../lib/session/fate.js'
import type { Timeouts } from '../lib/base/lifetime.js'
import type { SessionBackend } from '../types/store.js'
import type { Test } from 'tap'
import { test } from 'tap'
import { decide } from '../lib/session/fate.js'
import { jsonCodec } from '../lib/records/codec.js'
import { InFlight } from '../lib/base/in-flight.js'
import { randomIds, sha256 } from '../lib/base/id.js'
import { keyedStore } from '../lib/records/keyed-store.js'
import { createRecords } from '../lib/records/records.js'
import { SessionState } from '../lib/session/session.js'
import { inTurn } from '../lib/base/turns.js'
import { TestClock } from '../lib/testing/clock.js'
import { around, memoryBackend } from './helpers/backends.js'
import { watch } from './helpers/stage.js'

/**
 * Every situation, one line each: 1 yes, 0 no, - either. The columns are doomed, stored, rotating, changed,
 * empty, touchDue, failed.
 */
const table = `
  1 - - - - - -  destroy
  0 0 - 1 0 - 0  create
  0 0 - 1 0 - 1  nothing
  0 0 - 1 1 - -  nothing
  0 0 - 0 - - -  nothing
  0 1 1 - - - -  rotate
  0 1 0 1 - - 0  update
  0 1 0 1 - - 1  nothing
  0 1 0 0 - 1 -  touch
  0 1 0 0 - 0 -  nothing
`.trim().split('\n').map(line => line.trim().split(/\s+/))
const columns = ['doomed', 'stored', 'rotating', 'changed', 'empty', 'touchDue', 'failed'] as const

test('decide() in every situation', async t => {
  for (let bits = 0; bits < 2 ** columns.length; bits++) {
    const row = columns.map((_, i) => String(bits >> i & 1))
    const situation = Object.fromEntries(columns.map((name, i) => [name, row[i] === '1'])) as unknown as Situation
    const lines = table.filter(line => row.every((bit, i) => line[i] === '-' || line[i] === bit))
    t.equal(lines.length, 1, `${row.join(' ')} is in the table once`)
    t.equal(decide(situation), lines[0][7], row.join(' '))
  }
})

type Verb = 'read' | 'create' | 'update' | 'touch' | 'remove'
/** What becomes of one call: it fails, or is never answered, having taken effect or not, or others meddle. */
type Fault = 'fail' | 'silence' | 'silence after all' | (() => Promise<unknown>)

interface World {
  /** Past the faults. */
  backend: SessionBackend
  clock: TestClock
  /** The next call of this verb meets this fault; `always`: and all after it. */
  fault (verb: Verb, fault: Fault, always?: 'always'): void
  /** The calls since the last `calls.length = 0`, those of the faults left out. */
  calls: string[]
  /** A request with this cookie, its session loaded, and what its response tells the browser. */
  request (token?: string | null, refusal?: () => Error, unloaded?: 'unloaded'): Promise<Visit>
  /** The token of a new session with these data. */
  begin (data: Record<string, unknown>, principal?: string): Promise<string>
  /** Another request writes in between. */
  meddle (token: string, key: string, value: unknown): Promise<void>
  stored (token: string): Promise<{ data: Record<string, unknown>, principal: string | null } | null>
  count (): Promise<number>
}

interface Visit {
  state: SessionState
  told: CookieChange[]
  sendHeaders (): void
  refuseCookies (): void
}

async function openWorld (
  timeouts: Partial<Timeouts> = {}, settings: Partial<SessionSettings> = {}
): Promise<World> {
  const clock = new TestClock()
  const backend = await memoryBackend(clock)
  const calls: string[] = []
  const faults = new Map<Verb, { fault: Fault, always: boolean }>()
  let meddling = false

  const faulty = around(backend, async (verb, call) => {
    if (meddling) return call()
    calls.push(verb)
    const next = faults.get(verb)
    if (next === undefined) return call()
    if (!next.always) faults.delete(verb)
    switch (next.fault) {
      case 'fail': throw new Error('broken')
      case 'silence': return new Promise(() => {})
      case 'silence after all': return call().then(() => new Promise(() => {}))
      default: {
        meddling = true
        try {
          await next.fault()
        } finally {
          meddling = false
        }
        return call()
      }
    }
  })

  const all: Timeouts = { idleTimeout: 1800, absoluteTimeout: 43200, touchInterval: 60, ...timeouts }
  const { storeTimeout = 5 } = settings
  const store = keyedStore(faulty, {
    name: 'session',
    clock,
    records: createRecords({ ...all, clock, codec: jsonCodec, schema: null, maxSize: 65536 }, null),
    generateId: randomIds(32),
    signer: null,
    storeTimeout,
    renewInterval: null,
    renewGrace: 30,
    log: silent,
    onUse () {}
  })
  const complete: SessionSettings = {
    name: 'session',
    store,
    codec: jsonCodec,
    clock,
    timeouts: all,
    onCorrupt: 'ignore',
    rememberFor: 1000,
    storeTimeout,
    persistent: false,
    contenders: inTurn(),
    log: silent,
    commits: new InFlight(),
    ...settings
  }

  const world: World = {
    backend,
    clock,
    calls,
    fault (verb, fault, always) { faults.set(verb, { fault, always: always !== undefined }) },
    async request (token = null, refusal = undefined, unloaded = undefined) {
      const told: CookieChange[] = []
      let sent = false
      let canSetCookie = true
      const state = new SessionState(complete, {
        tokens: token === null ? [] : [token],
        log: silent,
        refusal,
        headersSent: () => sent,
        canSetCookie: () => canSetCookie,
        override () {},
        isOverridden: false,
        respond: change => { told.push(change) }
      })
      if (unloaded === undefined) await state.load()
      calls.length = 0
      return { state, told, sendHeaders () { sent = true }, refuseCookies () { canSetCookie = false } }
    },
    async begin (data, principal) {
      const { state, told } = await world.request()
      for (const [key, value] of Object.entries(data)) state.writable('').set(key, value)
      if (principal !== undefined) await state.login(principal)
      await state.commit()
      return tokenOf(told)
    },
    async meddle (token, key, value) {
      const record = (await backend.read(sha256(token)))!
      const content = jsonCodec.decode(record.value)!
      const data = { ...content.data, [key]: value }
      const text = jsonCodec.encode({ ...content, data, expiresAt: record.expiresAt })
      const written = { ...record, value: text, version: `other ${key} ${value}` }
      await backend.update(sha256(token), written, content, record.version)
    },
    async stored (token) {
      const record = await backend.read(sha256(token))
      if (record === null) return null
      const { data, principal } = jsonCodec.decode(record.value)!
      return { data, principal }
    },
    count: () => backend.count!()
  }
  return world
}

function tokenOf (told: CookieChange[]): string {
  const last = told.at(-1)
  if (last?.kind !== 'set') throw new Error('no cookie was set')
  return last.token
}

const silent = { debug () {}, warn () {} }
/** For stores that are silent, and conflicts that do not end. */
const impatient = { storeTimeout: 0.1 }
const storeFails = { code: 'FST_SESSIONS_STORE', statusCode: 503 }
const isLost = { code: 'FST_SESSIONS_GONE', statusCode: 409 }
const tooManyConflicts = { code: 'FST_SESSIONS_CONFLICT', statusCode: 503 }

/** Whether the request has told the browser nothing and left no session of its own. */
async function isGone (t: Test, { state, told }: Visit, world: World): Promise<void> {
  t.strictSame(told, [])
  t.equal(state.isNew, true)
  t.equal(state.readable('').isEmpty(), true)
  world.calls.length = 0
  state.writable('').set('later', 1)
  await state.commit()
  await state.login('later')
  await t.rejects(state.commit(), isLost, 'a login must not get lost in silence')
  await state.commit()
  t.strictSame(world.calls, [], 'and nothing is written any more')
  t.strictSame(told, [])
}

test('nothing: no call, no cookie', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  for (const known of [null, token]) {
    const { state, told } = await world.request(known)
    await state.commit()
    t.strictSame(world.calls, [])
    t.strictSame(told, [])
  }
  const exchange = {
    tokens: [token],
    log: silent,
    headersSent: () => false,
    canSetCookie: () => true,
    override () {},
    isOverridden: false,
    respond () {}
  }
  const unloaded = new SessionState({} as SessionSettings, exchange)
  await unloaded.commit()
  t.equal(unloaded.isUsed, false)
})

test('load: after a failure those who come next share one read, and what they change is stored', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state } = await world.request(token, undefined, 'unloaded')
  world.fault('read', 'fail')
  await t.rejects(state.load(), storeFails)
  t.equal(state.isUsed, false)
  t.throws(() => state.readable(''), storeFails)
  world.calls.length = 0
  await Promise.all([state.load(), state.load()])
  t.equal(state.isUsed, true)
  state.writable('').set('a', 2)
  await state.commit()
  t.strictSame(world.calls, ['read', 'update'])
  t.match(await world.stored(token), { data: { a: 2 } })
})

// create

test('create: one call, and the cookie', async t => {
  const world = await openWorld()
  const { state, told } = await world.request()
  const events = watch(t, 'created')
  state.writable('').set('a', 1)
  t.equal(state.isNew, true)
  t.equal(state.isSaved(), false)
  await state.commit()
  t.strictSame(world.calls, ['create'])
  const token = tokenOf(told)
  t.strictSame(told, [{ kind: 'set', token, expiresAt: world.clock.now() + 1800_000, persistent: false }])
  t.strictSame(await world.stored(token), { data: { a: 1 }, principal: null })
  t.strictSame(events, [{ event: 'created', session: 'session', hash: sha256(token) }])
  t.match(state, { isNew: false, id: sha256(token), createdAt: world.clock.now(), principal: null })
  t.equal(state.isSaved(), true)
  await state.commit()
  t.strictSame(world.calls, ['create'], 'once')
})

test('create: the user, the authentication time and the longer life come along', async t => {
  const world = await openWorld()
  const { state, told } = await world.request()
  await state.login('ada')
  await state.remember(5000)
  t.match(state, { principal: 'ada', authenticatedAt: world.clock.now(), createdAt: world.clock.now() })
  await state.commit()
  const expiresAt = world.clock.now() + 5000_000
  t.strictSame(told, [{ kind: 'set', token: tokenOf(told), expiresAt, persistent: true }])
  t.strictSame(await world.stored(tokenOf(told)), { data: {}, principal: 'ada' })
  t.match(state, { principal: 'ada', authenticatedAt: world.clock.now(), expiresAt })
})

test('create: when it fails nothing is told, and the next commit creates', async t => {
  for (const fault of ['fail', 'silence', 'silence after all'] as const) {
    const world = await openWorld({}, impatient)
    const { state, told } = await world.request()
    state.writable('').update('n', n => Number(n ?? 0) + 1)
    await state.login('ada')
    world.fault('create', fault)
    await t.rejects(state.commit(), storeFails)
    t.strictSame(told, [])
    t.match(state, { isNew: true, principal: 'ada' })
    t.equal(state.isModified(), true)
    await state.commit()
    t.equal(told.length, 1)
    t.strictSame(await world.stored(tokenOf(told)), { data: { n: 1 }, principal: 'ada' })
    t.equal(await world.count(), fault === 'silence after all' ? 2 : 1, 'an id nobody knows opens nothing')
  }
})

// update

test('update: one call, no cookie', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  world.clock.advance(10)
  state.writable('').set('a', 2)
  await state.commit()
  t.strictSame(world.calls, ['update'])
  t.strictSame(told, [])
  t.strictSame(await world.stored(token), { data: { a: 2 }, principal: null })
  t.equal(state.expiresAt, world.clock.now() + 1800_000, 'the idle timeout begins anew')
  state.writable('').set('a', 3)
  await state.commit()
  t.strictSame(world.calls, ['update', 'update'], 'a second commit knows the version')
})

test('update: on a conflict the others are read and the changes applied again', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1, n: 1, x: 0 })
  const { state, told } = await world.request(token)
  const events = watch(t, 'conflict')
  state.writable('').set('a', 2)
  state.writable('').update('n', n => Number(n) + 1)
  world.fault('update', () => world.meddle(token, 'n', 10))
  world.fault('read', () => world.meddle(token, 'x', 1))
  await state.commit()
  t.strictSame(world.calls, ['update', 'read', 'update'])
  t.strictSame((await world.stored(token))?.data, { a: 2, n: 11, x: 1 })
  t.strictSame(state.readable('').data(), { a: 2, n: 11, x: 1 }, 'and seen')
  t.strictSame(events, [{ event: 'conflict', session: 'session', hash: sha256(token) }])
  t.strictSame(told, [])
  t.equal(state.isSaved(), true)
})

test('update: conflict after conflict', async t => {
  const world = await openWorld()
  const token = await world.begin({ n: 0 })
  const { state } = await world.request(token)
  state.writable('').update('n', n => Number(n) + 1)
  let others = 0
  world.fault('update', async () => {
    if (++others <= 4) await world.meddle(token, 'n', others * 10)
  }, 'always')
  await state.commit()
  t.strictSame((await world.stored(token))?.data, { n: 41 })
})

test('update: it gives up when conflicts do not end, and may be tried again', async t => {
  const world = await openWorld({}, impatient)
  const token = await world.begin({ n: 0, mine: 0 })
  const { state, told } = await world.request(token)
  state.writable('').update('n', n => Number(n) + 1)
  state.writable('').set('mine', 1)
  let others = 0
  world.fault('update', () => world.meddle(token, 'n', ++others * 10), 'always')
  await t.rejects(state.commit(), tooManyConflicts)
  t.ok(others > 1)
  t.strictSame((await world.stored(token))?.data, { n: others * 10, mine: 0 }, 'nothing was saved')
  t.strictSame(told, [])
  world.fault('update', async () => {})
  await state.commit()
  t.strictSame((await world.stored(token))?.data, { n: others * 10 + 1, mine: 1 })
})

test('update: it fails, and nothing is lost or counted twice by the next one', async t => {
  const faults = [['update', 'fail'], ['update', 'silence'], ['read', 'fail'], ['read', 'silence']] as const
  for (const [verb, fault] of faults) {
    const world = await openWorld({}, impatient)
    const token = await world.begin({ n: 0, list: [], x: 0 })
    const { state, told } = await world.request(token)
    const list = state.readable('').get('list') as number[]
    state.writable('').update('n', n => Number(n) + 1)
    state.writable('').keepOnly(['n', 'list', 'x'])
    list.push(1)
    if (verb === 'read') world.fault('update', () => world.meddle(token, 'x', 1))
    world.fault(verb, fault)
    await t.rejects(state.commit(), storeFails)
    t.strictSame(told, [])
    t.equal(state.isModified(), true)
    t.match(state.id, sha256(token))
    list.push(2)
    state.writable('').update('n', n => Number(n) + 1)
    await state.commit()
    t.strictSame((await world.stored(token))?.data, { n: 2, list: [1, 2], x: verb === 'read' ? 1 : 0 })
  }
})

test('update: one that took effect though it was given up is not undone by the next one', async t => {
  const world = await openWorld({}, impatient)
  const token = await world.begin({ a: 0, x: 0 })
  const { state, told } = await world.request(token)
  state.writable('').set('a', 1)
  world.fault('update', 'silence after all')
  await t.rejects(state.commit(), storeFails)
  await world.meddle(token, 'x', 1)
  state.writable('').set('b', 1)
  await state.commit()
  t.strictSame((await world.stored(token))?.data, { a: 1, x: 1, b: 1 })
  t.strictSame(told, [])
})

test('update: gone when the record is missing at once, or after a conflict', async t => {
  for (const verb of ['update', 'read'] as const) {
    const world = await openWorld()
    const token = await world.begin({ a: 1 })
    const visit = await world.request(token)
    const events = watch(t, 'gone')
    visit.state.writable('').set('a', 2)
    if (verb === 'read') world.fault('update', () => world.meddle(token, 'x', 1))
    world.fault(verb, () => world.backend.remove(sha256(token)))
    await visit.state.commit()
    t.strictSame(events, [{ event: 'gone', session: 'session', hash: sha256(token) }])
    await isGone(t, visit, world)
    t.equal(await world.count(), 0)
  }
})

test('destroy: the store is not closed before what follows it is stored', async t => {
  const commits = new InFlight()
  const world = await openWorld({}, { commits })
  const { state } = await world.request(await world.begin({ a: 1 }))
  await state.destroy()
  state.writable('').set('a', 2)
  world.fault('create', () => new Promise(setImmediate))
  const committing = state.commit()
  await commits.over()
  t.equal(await world.count(), 1)
  await committing
})

test('L12 update: the last key gone, the record and the cookie go', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  const events = watch(t, 'destroyed')
  state.writable('').delete('a')
  await state.commit()
  t.strictSame(world.calls, ['remove'])
  t.strictSame(told, [{ kind: 'delete' }])
  t.equal(await world.count(), 0)
  t.equal(events.length, 1)
  state.writable('').set('a', 2)
  await state.commit()
  t.not(tokenOf(told), token, 'what is written then is a new session')
  t.strictSame((await world.stored(tokenOf(told)))?.data, { a: 2 })
})

test('L12 update: not when others have written meanwhile, or when it is somebody\'s', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  state.writable('').delete('a')
  world.fault('remove', () => world.meddle(token, 'x', 1))
  await state.commit()
  t.strictSame((await world.stored(token))?.data, { x: 1 })
  t.strictSame(told, [])

  const hers = await world.begin({ a: 1 }, 'ada')
  const visit = await world.request(hers)
  visit.state.writable('').delete('a')
  await visit.state.commit()
  t.strictSame(await world.stored(hers), { data: {}, principal: 'ada' })
  t.strictSame(visit.told, [])
})

test('L12 update: gone when somebody else was faster to remove it', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const visit = await world.request(token)
  visit.state.writable('').delete('a')
  world.fault('remove', () => world.backend.remove(sha256(token)))
  await visit.state.commit()
  await isGone(t, visit, world)
})

// touch

test('L10 touch: when due, or asked for; the browser is told only of a persistent cookie', async t => {
  for (const persistent of [false, true]) {
    const world = await openWorld({}, { persistent })
    const token = await world.begin({ a: 1 })
    const { state, told } = await world.request(token)
    world.clock.advance(59)
    await state.commit()
    t.strictSame(world.calls, [])
    world.clock.advance(1)
    await state.commit()
    t.strictSame(world.calls, ['touch'])
    const expiresAt = world.clock.now() + 1800_000
    t.equal((await world.backend.read(sha256(token)))?.expiresAt, expiresAt)
    t.equal(state.expiresAt, expiresAt)
    t.strictSame(told, persistent ? [{ kind: 'set', token, expiresAt, persistent }] : [])
    world.clock.advance(1)
    await state.touch()
    await state.commit()
    await state.commit()
    t.strictSame(world.calls, ['touch', 'touch'])
  }
})

test('L10 touch: not after a server error that drops changes', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  world.clock.advance(100)
  const { state } = await world.request(token)
  state.writable('').set('a', 2)
  await state.commit(true)
  t.strictSame(world.calls, [])
  t.strictSame((await world.stored(token))?.data, { a: 1 })
})

test('touch: gone, or failed and tried again; only one that was asked for fails the request', async t => {
  const world = await openWorld({}, impatient)
  const token = await world.begin({ a: 1 })
  world.clock.advance(100)
  const { state, told } = await world.request(token)
  const failures = watch(t, 'failure')
  for (const fault of ['fail', 'silence'] as const) {
    world.fault('touch', fault)
    await state.commit()
    const asking = await world.request(token)
    await asking.state.touch()
    world.fault('touch', fault)
    await t.rejects(asking.state.commit(), storeFails)
  }
  t.equal(failures.length, 4)
  world.calls.length = 0
  await state.commit()
  t.strictSame(world.calls, ['touch'])
  t.strictSame(told, [])
  const visit = await world.request(token)
  await visit.state.touch()
  await world.backend.remove(sha256(token))
  await visit.state.commit()
  await isGone(t, visit, world)
})

test('idle: when a commit would do nothing', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state } = await world.request(token)
  const idle = () => [state.isIdle(false), state.isIdle(true)]
  t.strictSame(idle(), [true, true])
  state.writable('').set('a', 2)
  t.strictSame(idle(), [false, true], 'an error drops changes')
  state.writable('').set('a', 1)
  t.strictSame(idle(), [true, true])
  await state.regenerate()
  t.strictSame(idle(), [false, false], 'and rotates all the same')
  await state.commit()
  world.clock.advance(100)
  t.strictSame(idle(), [false, false], 'activity is to be noted')
  const touching = state.commit()
  t.strictSame(idle(), [false, false], 'a commit is under way')
  await touching
  t.strictSame(idle(), [true, true])

  const unloaded = await world.request(token, undefined, 'unloaded')
  t.equal(unloaded.state.isIdle(false), true)
})

// rotate

test('L1 rotate: the new record, then the old one removed; data and creation time stay', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const createdAt = world.clock.now()
  world.clock.advance(5)
  const { state, told } = await world.request(token)
  const events = watch(t, 'created', 'rotated', 'destroyed')
  await state.regenerate()
  t.equal(state.isModified(), true)
  await state.commit()
  t.strictSame(world.calls, ['create', 'remove'])
  t.equal(await world.stored(token), null)
  t.strictSame((await world.stored(tokenOf(told)))?.data, { a: 1 })
  t.strictSame(events, [{ event: 'rotated', session: 'session', hash: sha256(tokenOf(told)) }])
  t.match(state, { id: sha256(tokenOf(told)), createdAt })
  state.writable('').set('a', 2)
  await state.commit()
  t.strictSame(world.calls, ['create', 'remove', 'update'], 'once')
  t.equal(told.length, 1)
})

test('rotate: what others write in between goes along', async t => {
  const world = await openWorld()
  const token = await world.begin({ n: 1 })
  const { state, told } = await world.request(token)
  state.writable('').update('n', n => Number(n) + 1)
  await state.login('ada')
  world.fault('remove', () => world.meddle(token, 'n', 10))
  await state.commit()
  t.strictSame(world.calls, ['create', 'remove', 'read', 'update', 'remove'])
  t.strictSame(await world.stored(tokenOf(told)), { data: { n: 11 }, principal: 'ada' })
  t.equal(await world.count(), 1)
})

test('rotate: gone whenever the old record goes, and nothing is left behind', async t => {
  const cases: Array<[string, Array<[Verb, (world: World, token: string) => Promise<unknown>]>]> = [
    ['before', [['create', (world, token) => world.backend.remove(sha256(token))]]],
    ['between', [['remove', (world, token) => world.backend.remove(sha256(token))]]],
    ['after a conflict', [
      ['remove', (world, token) => world.meddle(token, 'x', 1)],
      ['read', (world, token) => world.backend.remove(sha256(token))]
    ]],
    ['after a conflict, and the new one too', [
      ['remove', (world, token) => world.meddle(token, 'x', 1)],
      ['update', world => world.backend.removeAllOf!('ada')]
    ]]
  ]
  for (const [name, faults] of cases) {
    const world = await openWorld()
    const token = await world.begin({ a: 1 }, 'ada')
    const visit = await world.request(token)
    for (const [verb, meddle] of faults) world.fault(verb, () => meddle(world, token))
    await visit.state.regenerate()
    await visit.state.commit()
    await isGone(t, visit, world)
    t.equal(await world.count(), 0, name)
  }
})

test('rotate: gone, and the new record cannot be removed', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  await state.regenerate()
  await world.backend.remove(sha256(token))
  world.fault('remove', async () => { world.fault('remove', 'fail') })
  await t.rejects(state.commit(), storeFails)
  t.strictSame(world.calls, ['create', 'remove', 'remove', 'remove'], 'it is tried twice')
  t.strictSame(told, [])
  t.equal(await world.count(), 0)
})

test('L2 rotate: a failure of any step leaves the old id working, and can be tried again', async t => {
  for (const fault of ['fail', 'silence'] as const) {
    for (const verb of ['create', 'remove', 'read', 'update'] as const) {
      const world = await openWorld({}, impatient)
      const token = await world.begin({ n: 1 })
      const { state, told } = await world.request(token)
      state.writable('').update('n', n => Number(n) + 1)
      await state.login('ada')
      const isLate = verb === 'read' || verb === 'update'
      if (isLate) world.fault('remove', () => world.meddle(token, 'x', 1))
      world.fault(verb, fault)
      await t.rejects(state.commit(), storeFails)
      t.strictSame(told, [], 'the browser goes on with the old id')
      t.strictSame(await world.stored(token), { data: { n: 1, ...isLate && { x: 1 } }, principal: null })
      t.equal(await world.count(), 1, 'and the new record is gone')
      await state.commit()
      t.strictSame(await world.stored(tokenOf(told)), { data: { n: 2, ...isLate && { x: 1 } }, principal: 'ada' })
      t.equal(await world.count(), 1)
    }
  }
})

test('L2 rotate: the store fails for good between the steps; the old id works when it is back', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  await state.regenerate()
  world.fault('remove', 'fail', 'always')
  await t.rejects(state.commit(), storeFails)
  t.strictSame(told, [])
  t.strictSame(await world.stored(token), { data: { a: 1 }, principal: null })
  t.equal(await world.count(), 2, 'the other one has an id that nobody knows')
})

test('L5 rotate: the old record was removed though that was given up; nobody is brought back', async t => {
  const loggedOut = (world: World, token: string) => async () => {
    await world.backend.remove(sha256(token))
    throw new Error('broken')
  }
  for (const faultOf of [() => 'silence after all' as const, loggedOut]) {
    const world = await openWorld({}, impatient)
    const token = await world.begin({ a: 1 })
    const visit = await world.request(token)
    await visit.state.login('ada')
    world.fault('remove', faultOf(world, token))
    await t.rejects(visit.state.commit(), storeFails, 'nobody can tell whose removal it was')
    t.strictSame(visit.told, [])
    t.equal(await world.count(), 0)
    await t.rejects(visit.state.commit(), isLost)
    await isGone(t, visit, world)
    t.equal(await world.count(), 0)
  }
})

test('rotate: it gives up when conflicts do not end', async t => {
  const world = await openWorld({}, impatient)
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  await state.regenerate()
  let others = 0
  world.fault('remove', () => world.meddle(token, 'x', ++others), 'always')
  await t.rejects(state.commit(), tooManyConflicts)
  t.ok(others > 1)
  t.strictSame(told, [])
  t.strictSame(await world.stored(token), { data: { a: 1, x: others }, principal: null })
  t.equal(await world.count(), 1)
})

test('D8 rotate: after a server error the id changes and nothing else', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1, list: [1] })
  const createdAt = world.clock.now()
  world.clock.advance(5)
  const { state, told } = await world.request(token)
  const list = state.readable('').get('list') as unknown[]
  list.push(list)
  state.writable('').keepOnly(['list'])
  await state.login('ada')
  await state.remember()
  world.fault('remove', () => world.meddle(token, 'x', 1))
  await state.commit(true)
  t.strictSame(await world.stored(tokenOf(told)), { data: { a: 1, list: [1], x: 1 }, principal: null })
  t.equal(await world.count(), 1)
  t.match(state, { principal: null, authenticatedAt: null, createdAt })
  t.equal(told[0].kind === 'set' && told[0].persistent, false)
})

test('D8 rotate: after a server error, gone', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  await state.regenerate()
  await world.backend.remove(sha256(token))
  await state.commit(true)
  t.strictSame(world.calls, ['read'])
  t.strictSame(told, [])
  t.equal(await world.count(), 0)
})

test('L8 rotate: login() starts the absolute timeout anew, regenerate() does not', async t => {
  const world = await openWorld({ idleTimeout: null, absoluteTimeout: 1000 })
  const token = await world.begin({ a: 1 })
  const start = world.clock.now()
  world.clock.advance(600)
  const first = await world.request(token)
  await first.state.regenerate()
  await first.state.commit()
  t.equal(first.state.expiresAt, start + 1000_000)
  await first.state.login('ada')
  world.clock.advance(1)
  await first.state.commit()
  const login = start + 600_000
  t.match(first.state, { expiresAt: login + 1000_000, createdAt: login, authenticatedAt: login })
})

// destroy

test('L4 destroy: removed, then the cookie', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 }, 'ada')
  const { state, told } = await world.request(token)
  const events = watch(t, 'destroyed')
  await state.destroy()
  t.match(state, { isNew: true, id: null, principal: null })
  t.equal(state.isModified(), true)
  await state.commit()
  t.strictSame(world.calls, ['remove'])
  t.strictSame(told, [{ kind: 'delete' }])
  t.equal(await world.count(), 0)
  t.equal(events.length, 1)
  t.equal(state.isModified(), false)
})

test('L4 destroy: gone already, the cookie goes all the same', async t => {
  for (const isKnown of [false, true]) {
    const world = await openWorld()
    const token = await world.begin({ a: 1 })
    const { state, told } = await world.request(token)
    const events = watch(t, 'gone', 'destroyed')
    await world.backend.remove(sha256(token))
    state.writable('').set('a', 2)
    if (isKnown) await state.commit()
    t.strictSame(told, [])
    await state.destroy()
    t.equal(state.isModified(), true)
    await state.commit()
    t.strictSame(world.calls, [isKnown ? 'update' : 'remove'])
    t.strictSame(told, [{ kind: 'delete' }])
    t.strictSame(events, [{ event: 'gone', session: 'session', hash: sha256(token) }])
    t.equal(state.isModified(), false)
    t.equal(await world.count(), 0)
  }
})

test('L15 destroy: gone already, and what was set after it is a new session', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 }, 'ada')
  const { state, told } = await world.request(token)
  await world.backend.remove(sha256(token))
  state.writable('').set('a', 2)
  await state.remember()
  await state.destroy()
  state.writable('').set('b', 1)
  await state.commit()
  t.strictSame(world.calls, ['remove', 'create'])
  t.strictSame(await world.stored(tokenOf(told)), { data: { b: 1 }, principal: null })
  t.equal(told.length, 1)
  t.equal(await world.count(), 1)
})

test('L15 destroy: gone already, and a server error drops what was set after it', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  await world.backend.remove(sha256(token))
  await state.destroy()
  await state.login('bob')
  await state.commit(true)
  t.strictSame(told, [{ kind: 'delete' }])
  t.equal(await world.count(), 0)
})

test('L4 destroy: it fails, and is carried out by the next commit', async t => {
  for (const fault of ['fail', 'silence'] as const) {
    const world = await openWorld({}, impatient)
    const token = await world.begin({ a: 1 })
    const { state, told } = await world.request(token)
    await state.destroy()
    state.writable('').set('b', 1)
    world.fault('remove', fault)
    await t.rejects(state.commit(), storeFails)
    t.strictSame(world.calls, ['remove'], 'and nothing new is stored before')
    t.strictSame(told, [])
    await state.commit()
    t.equal(await world.stored(token), null)
    t.equal(told.length, 1)
    t.strictSame((await world.stored(tokenOf(told)))?.data, { b: 1 })
  }
})

test('L15 destroy: what was set after it fails to be stored, and is stored by the next commit', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  await state.destroy()
  await state.login('bob')
  state.writable('').update('n', n => Number(n ?? 0) + 1)
  world.fault('create', 'fail')
  await t.rejects(state.commit(), storeFails)
  t.strictSame(told, [])
  t.equal(await world.count(), 0)
  t.equal(state.principal, 'bob')
  await state.commit()
  t.strictSame(await world.stored(tokenOf(told)), { data: { n: 1 }, principal: 'bob' })
})

test('L15 destroy twice', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const { state, told } = await world.request(token)
  await state.destroy()
  await state.destroy()
  state.writable('').set('b', 1)
  await state.commit()
  const second = tokenOf(told)
  await state.destroy()
  await state.commit()
  t.equal(await world.stored(second), null)
  t.strictSame(told.map(({ kind }) => kind), ['set', 'delete'])
  t.equal(await world.count(), 0)
  const fresh = await world.request()
  fresh.state.writable('').set('a', 1)
  await fresh.state.destroy()
  await fresh.state.commit()
  t.strictSame(world.calls, [], 'a session that was never stored')
  t.strictSame(fresh.told, [])
})

// Headers, refusal, and loading

test('L18 what needs a cookie is refused once the headers are sent, before anything is written', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  const fresh = await world.request()
  fresh.state.writable('').set('a', 1)
  fresh.sendHeaders()
  await t.rejects(fresh.state.commit(), { code: 'FST_SESSIONS_HEADERS_SENT' })
  t.throws(() => fresh.state.writable(''), { code: 'FST_SESSIONS_HEADERS_SENT' })
  const rotating = await world.request(token)
  await rotating.state.regenerate()
  rotating.sendHeaders()
  await t.rejects(rotating.state.commit(), { code: 'FST_SESSIONS_HEADERS_SENT' })
  await t.rejects(rotating.state.login('ada'), { code: 'FST_SESSIONS_HEADERS_SENT' })
  t.strictSame(world.calls, [])
  t.equal(await world.count(), 1)

  const writing = await world.request(token)
  writing.state.writable('').set('a', 2)
  writing.sendHeaders()
  await writing.state.commit()
  t.strictSame((await world.stored(token))?.data, { a: 2 }, 'what needs none is saved')
  const leaving = await world.request(token)
  await leaving.state.destroy()
  leaving.sendHeaders()
  await leaving.state.commit()
  t.equal(await world.count(), 0, 'and a logout is a logout')
})

test('K7 nothing is stored for a browser that would not keep the cookie', async t => {
  const world = await openWorld()
  const token = await world.begin({ a: 1 })
  for (const known of [null, token]) {
    const { state, told, refuseCookies } = await world.request(known)
    refuseCookies()
    await state.login('ada')
    await state.commit()
    t.strictSame(world.calls, [])
    t.strictSame(told, [])
    t.equal(state.isSaved(), false)
  }
})

test('L18 nothing is changed after close()', async t => {
  const world = await openWorld()
  const { state } = await world.request()
  state.close()
  t.equal(state.isClosed, true)
  t.throws(() => state.writable('set'), { code: 'FST_SESSIONS_HEADERS_SENT' })
  for (const verb of ['destroy', 'regenerate', 'remember'] as const) {
    await t.rejects(state[verb](), { code: 'FST_SESSIONS_HEADERS_SENT' })
  }
})

test('H7 where nothing has to be read, load() keeps what was set before it', async t => {
  const world = await openWorld()
  const { state, told } = await world.request(null, undefined, 'unloaded')
  t.equal(state.isLoaded, false)
  state.loadIfAnonymous()
  state.writable('').set('a', 1)
  await state.load()
  await state.login('ada')
  await state.commit()
  t.strictSame(await world.stored(tokenOf(told)), { data: { a: 1 }, principal: 'ada' })
  const known = await world.request(tokenOf(told), undefined, 'unloaded')
  known.state.loadIfAnonymous()
  t.equal(known.state.isLoaded, false)
})

test('H7 an object changed in place where only reading is allowed is an error, not a write', async t => {
  const world = await openWorld()
  const token = await world.begin({ list: [1] })
  const { state: readOnly } = await world.request(token, () => new Error('read only'))
  world.clock.advance(100)
  await readOnly.commit()
  t.strictSame(world.calls, ['touch'], 'activity is noted')
  ;(readOnly.readable('').get('list') as number[]).push(2)
  await t.rejects(readOnly.commit(), { message: 'read only' })
  await readOnly.commit(true)
  t.throws(() => readOnly.writable(''), { message: 'read only' })
  t.strictSame((await world.stored(token))?.data, { list: [1] })
})
