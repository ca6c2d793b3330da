import type { LightMyRequestResponse as Response } from 'fastify'
import type { Session, SessionOptions } from '../lib/index.js'
import type { GatedBackend } from './helpers/backends.js'
import type { Script, Stage } from './helpers/stage.js'
import type { Test } from 'tap'
import { test } from 'tap'
import { jsonCodec } from '../lib/records/codec.js'
import { sha256 } from '../lib/base/id.js'
import { TestClock } from '../lib/testing/clock.js'
import { startApp } from './helpers/app.js'
import { counting, gated, memoryBackend } from './helpers/backends.js'
import { heldVisit } from './helpers/pause.js'
import { cookieOf, setCookies, startStage, watch } from './helpers/stage.js'

interface Race extends Stage {
  backend: GatedBackend
  clock: TestClock
  /** The cookie of a new session with these data. */
  begin (data: Record<string, unknown>, script?: Script): Promise<string>
  /** What the store has under the cookie's id, whoever asks. */
  stored (cookie: string): Promise<Record<string, unknown> | null>
  count (): Promise<number>
}

async function startRace (t: Test, options: SessionOptions = {}): Promise<Race> {
  const clock = new TestClock()
  const inner = await memoryBackend(clock)
  const backend = gated(inner)
  const stage = await startStage(t, { store: { type: 'custom', backend }, clock, ...options })
  return {
    ...stage,
    backend,
    clock,
    async begin (data, script = () => {}) {
      return cookieOf(await stage.visit('', async (session, request, reply) => {
        for (const [key, value] of Object.entries(data)) session.set(key, value)
        await script(session, request, reply)
        return 'done'
      }))
    },
    async stored (cookie) {
      const record = await inner.read(sha256(cookie.split('=')[1]))
      return record === null ? null : jsonCodec.decode(record.value)!.data
    },
    count: () => inner.count!()
  }
}

const logout: Script = async session => { await session.logout() }
const set = (key: string, value: unknown): Script => session => { session.set(key, value) }
const data: Script = session => session.data()

/** The response of a request whose session is gone: as if it had not used one. */
/** Data that come too late are dropped in silence; a new id that cannot be had is an error. */
function isSilent (t: Test, response: Response, status = 200): void {
  t.equal(response.statusCode, status)
  t.strictSame(setCookies(response), [], 'no session cookie')
}

/** All that a slow request may do to its session. */
const slow: Record<string, Script> = {
  'sets a key': set('late', 1),
  'changes an object in place': session => { (session.get('cart') as string[]).push('late') },
  'deletes a key': session => { session.delete('n') },
  'deletes all keys': session => { session.clear() },
  counts: session => { session.update('n', n => Number(n) + 1) },
  touches: session => session.touch(),
  regenerates: session => session.regenerate(),
  'regenerates with no keys': session => session.regenerate([]),
  'logs in': session => session.login('mallory'),
  'is remembered': session => session.remember(),
  'saves at once': async session => {
    session.set('late', 1)
    await session.save()
    session.set('later', 2)
  },
  'logs in and saves at once': async session => {
    await session.login('mallory')
    await session.save()
    await session.login('mallory')
  },
  'reads again and writes': async session => {
    await session.reload()
    session.set('late', 1)
  },
  'takes back its logout': async session => {
    await session.logout()
    await session.reload()
    session.set('late', 1)
  },
  'logs out too': logout,
  'logs out when it was saved in vain': async session => {
    session.set('late', 1)
    await session.save()
    await session.logout()
  },
  'logs out when it has read again': async session => {
    await session.reload()
    await session.logout()
  },
  'logs out and begins anew': async session => {
    session.set('early', 1)
    await session.logout()
    session.set('late', 1)
  }
}

/** A logout is told to the browser, whoever was faster. @returns how many sessions the request began */
async function begunBy (t: Test, race: Race, name: string, response: Response): Promise<number> {
  if (!name.startsWith('logs out')) {
    isSilent(t, response, statusOf(name))
    return 0
  }
  t.equal(response.statusCode, 200)
  const [line, ...others] = setCookies(response)
  t.strictSame(others, [])
  if (name === 'logs out and begins anew') {
    t.strictSame(await race.stored(cookieOf(response)), { late: 1 }, 'of what came before the logout, nothing')
    return 1
  }
  t.match(line, /^__Host-session=;.*Max-Age=0/)
  return 0
}

const statusOf = (name: string) => /^(logs in|is remembered)/.test(name) ? 409 : 200

for (const [name, script] of Object.entries(slow)) {
  for (const persistent of [false, true]) {
    const kind = persistent ? 'persistent' : 'browser'
    test(`R1 L5 a slower request that ${name} does not bring a session back, ${kind} cookie`, async t => {
      const race = await startRace(t, { cookie: { persistent } })
      const cookie = await race.begin({ n: 1, cart: [] }, session => session.login('ada'))
      const writer = await heldVisit(race, cookie)
      race.clock.advance(61)
      const left = await race.visit(cookie, logout)
      t.match(setCookies(left)[0], /^__Host-session=;.*Max-Age=0/)
      t.equal(await begunBy(t, race, name, await writer.finish(script)), await race.count())
      t.strictSame((await race.visit(cookie, data)).json(), {}, 'a replayed cookie is anonymous')
    })

    test(`R3 a slower request that ${name} does not touch a rotated session, ${kind} cookie`,
      async t => {
        const race = await startRace(t, { cookie: { persistent } })
        const cookie = await race.begin({ n: 1, cart: [] })
        const writer = await heldVisit(race, cookie)
        race.clock.advance(61)
        const rotated = cookieOf(await race.visit(cookie, session => session.login('ada')))
        t.equal(await begunBy(t, race, name, await writer.finish(script)), await race.count() - 1)
        t.equal(await race.stored(cookie), null)
        t.strictSame(await race.stored(rotated), { n: 1, cart: [] })
        const visit = await race.visit(rotated, session => ({ principal: session.principal }))
        t.strictSame(visit.json(), { principal: 'ada' })
      })

    test(`R8 a session that expires while a request ${name} stays expired, ${kind} cookie`, async t => {
      const race = await startRace(t, { cookie: { persistent } })
      const cookie = await race.begin({ n: 1, cart: [] })
      const writer = await heldVisit(race, cookie)
      race.clock.advance(1800)
      t.equal(await begunBy(t, race, name, await writer.finish(script)), await race.count())
      await race.backend.sweep!(race.clock.now(), 10)
      t.strictSame((await race.visit(cookie, data)).json(), {})
    })
  }
}

test('R1 L5 a write that reaches the store after the logout is refused there', async t => {
  for (const [name, verb] of [['sets a key', 'update'], ['deletes all keys', 'update'], ['touches', 'touch'],
    ['logs in', 'create'], ['regenerates', 'remove']] as const) {
    const race = await startRace(t)
    const cookie = await race.begin({ n: 1, cart: [] })
    const gone = watch(t, 'gone')
    race.backend.held.add(name === 'deletes all keys' ? 'remove' : verb)
    const writing = race.visit(cookie, async (...args) => { await slow[name](...args); return 'done' })
    const call = await race.backend.next()
    race.backend.held.clear()
    await race.visit(cookie, logout)
    await call.release()
    isSilent(t, await writing, statusOf(name))
    t.equal(await race.count(), 0, name)
    t.equal(gone.length, 1, 'and told to those who watch')
  }
})

test('R1 L5 a writer that has lost once and reads again finds the session gone', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  const writer = await heldVisit(race, cookie)
  await race.visit(cookie, set('n', 2))
  race.backend.held.add('read')
  const writing = writer.finish(set('late', 1))
  const reading = await race.backend.next('read')
  race.backend.held.clear()
  await race.visit(cookie, logout)
  await reading.release()
  isSilent(t, await writing)
  t.equal(await race.count(), 0)
})

test('R1 a writer that has read again is refused as well', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  const writer = await heldVisit(race, cookie)
  await race.visit(cookie, set('n', 2))
  race.backend.held.add('update')
  const writing = writer.finish(set('late', 1))
  await (await race.backend.next('update')).release()
  const again = await race.backend.next('update')
  await race.visit(cookie, logout)
  await again.release()
  isSilent(t, await writing)
  t.equal(await race.count(), 0)
})

test('R2 a slow reader does not bring a session back by noting activity', async t => {
  for (const persistent of [false, true]) {
    const race = await startRace(t, { cookie: { persistent } })
    const cookie = await race.begin({ n: 1 })
    race.clock.advance(61)
    race.backend.held.add('touch')
    const reading = race.visit(cookie, data)
    const touching = await race.backend.next('touch')
    await race.visit(cookie, logout)
    await touching.release()
    const response = await reading
    isSilent(t, response)
    t.strictSame(response.json(), { n: 1 })
    t.equal(await race.count(), 0)
  }
})

test('R3 a write that falls between the two steps of a rotation goes along', async t => {
  for (const verb of ['create', 'remove'] as const) {
    const race = await startRace(t)
    const cookie = await race.begin({ n: 1 })
    race.backend.held.add(verb)
    const rotating = race.visit(cookie, async session => {
      session.set('mine', 1)
      await session.login('ada')
      return 'done'
    })
    const step = await race.backend.next(verb)
    race.backend.held.clear()
    isSilent(t, await race.visit(cookie, async session => {
      session.set('theirs', 2)
      return 'done'
    }))
    await step.release()
    const rotated = cookieOf(await rotating)
    t.strictSame(await race.stored(rotated), { n: 1, mine: 1, theirs: 2 })
    t.equal(await race.count(), 1)
  }
})

test('R3 of two logins at once one wins, and the other is told', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  race.backend.held.add('remove')
  const login = (name: string): Promise<Response> => race.visit(cookie, async session => {
    await session.login(name)
    return 'done'
  })
  const first = login('ada')
  const firstStep = await race.backend.next('remove')
  const second = login('bob')
  const secondStep = await race.backend.next('remove')
  race.backend.held.clear()
  await secondStep.release()
  await firstStep.release()
  isSilent(t, await first, 409)
  const rotated = cookieOf(await second)
  t.equal(await race.count(), 1)
  t.equal((await race.visit(rotated, session => session.principal)).body, 'bob')
})

test('R4 two writers of different keys: both survive, whoever comes first', async t => {
  for (const order of [[0, 1], [1, 0]]) {
    const race = await startRace(t)
    const cookie = await race.begin({ cart: ['a'], user: { name: 'x' }, gone: true, kept: 1 })
    const conflicts = watch(t, 'conflict')
    race.backend.held.add('update')
    const writing = [
      race.visit(cookie, session => { (session.get('cart') as string[]).push('b'); return 'done' }),
      race.visit(cookie, session => {
        Object.assign(session.get('user') as object, { name: 'y' })
        session.delete('gone')
        session.set('fresh', [])
        return 'done'
      })
    ]
    const steps = [await race.backend.next('update'), await race.backend.next('update')]
    race.backend.held.clear()
    for (const i of order) await steps[i].release()
    for (const response of await Promise.all(writing)) isSilent(t, response)
    t.strictSame(await race.stored(cookie), { cart: ['a', 'b'], user: { name: 'y' }, kept: 1, fresh: [] })
    t.equal(conflicts.length, 1)
  }
})

test('R4 a session that one request empties and another fills stays', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ old: 1 })
  const emptying = await heldVisit(race, cookie, session => { session.clear() })
  await race.visit(cookie, set('fresh', 2))
  isSilent(t, await emptying.finish())
  t.strictSame(await race.stored(cookie), { fresh: 2 })
})

test('R5 fifty parallel increments that have all read the same count exactly', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 0 })
  race.backend.held.add('update')
  const counting = Array.from({ length: 50 }, () => race.visit(cookie, session => {
    return session.update('n', n => Number(n) + 1)
  }))
  const steps = []
  for (let i = 0; i < 50; i++) steps.push(await race.backend.next('update'))
  race.backend.held.clear()
  for (const step of steps) await step.release()
  for (const response of await Promise.all(counting)) t.equal(response.statusCode, 200)
  t.strictSame(await race.stored(cookie), { n: 50 })
})

test('R6 set and delete of one key: one of the two results, and the record whole', async t => {
  for (const order of [[0, 1], [1, 0]]) {
    const race = await startRace(t)
    const cookie = await race.begin({ x: 'old', kept: [1] })
    race.backend.held.add('update')
    const writing = [
      race.visit(cookie, async session => { session.set('x', 'new'); return 'done' }),
      race.visit(cookie, async session => { session.delete('x'); return 'done' })
    ]
    const steps = [await race.backend.next('update'), await race.backend.next('update')]
    race.backend.held.clear()
    for (const i of order) await steps[i].release()
    for (const response of await Promise.all(writing)) isSilent(t, response)
    const last = order[1] === 0 ? { x: 'new' } : {}
    t.strictSame(await race.stored(cookie), { ...last, kept: [1] })
  }
})

test('R7 two first requests at once: two sessions, no error', async t => {
  const race = await startRace(t)
  race.backend.held.add('create')
  const beginning = [race.begin({ n: 1 }), race.begin({ n: 2 })]
  const steps = [await race.backend.next('create'), await race.backend.next('create')]
  for (const step of steps) await step.release()
  const cookies = await Promise.all(beginning)
  t.not(cookies[0], cookies[1])
  t.strictSame(await Promise.all(cookies.map(race.stored)), [{ n: 1 }, { n: 2 }])
})

test('R8 the absolute end comes during a request', async t => {
  const race = await startRace(t, { idleTimeout: null, absoluteTimeout: 100 })
  const cookie = await race.begin({ n: 1 })
  for (const script of [set('late', 1), slow.touches, slow['logs in']]) {
    const writer = await heldVisit(race, cookie)
    race.clock.advance(100)
    isSilent(t, await writer.finish(script), script === slow['logs in'] ? 409 : 200)
    race.clock.advance(-100)
  }
})

test('R8 a session may be written until the last instant, and again after that', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  const writer = await heldVisit(race, cookie)
  race.clock.advance(1799.999)
  isSilent(t, await writer.finish(set('n', 2)))
  race.clock.advance(1799.999)
  t.strictSame((await race.visit(cookie, data)).json(), { n: 2 })
})

test('R9 sessions destroyed for a user stay destroyed, whatever is under way', async t => {
  for (const verb of ['update', 'touch', 'create', 'remove'] as const) {
    const race = await startRace(t)
    const cookie = await race.begin({ n: 1 }, session => session.login('ada'))
    const writing = race.visit(cookie, async session => {
      race.backend.held.add(verb)
      if (verb === 'touch') await session.touch()
      else session.set('n', 2)
      if (verb === 'create' || verb === 'remove') await session.login('ada')
      return 'done'
    })
    const step = await race.backend.next(verb)
    race.backend.held.clear()
    await race.backend.removeAllOf!('ada')
    await step.release()
    isSilent(t, await writing, verb === 'create' || verb === 'remove' ? 409 : 200)
    t.equal(await race.count(), 0, verb)
  }
})

test('R10 after a crash between the two steps of a rotation the browser has an id that works', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  race.backend.held.add('remove')
  const dying = race.visit(cookie, session => session.regenerate())
  const step = await race.backend.next('remove')
  // What another process finds: the first one never answers.
  t.equal(await race.count(), 2)
  t.strictSame((await race.visit(cookie, data)).json(), { n: 1 })
  step.fail(new Error('killed'))
  race.backend.held.clear()
  await dying
})

test('L2 a failure between the two steps leaves one that works, and the response tells which', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  race.backend.held.add('remove')
  const rotating = race.visit(cookie, session => session.login('ada'))
  const step = await race.backend.next('remove')
  race.backend.held.clear()
  step.fail(new Error('broken'))
  const response = await rotating
  t.equal(response.statusCode, 503)
  t.strictSame(setCookies(response), [], 'the browser goes on with the old one')
  t.equal(await race.count(), 1)
  const visit = await race.visit(cookie, session => ({ n: session.get('n'), principal: session.principal }))
  t.strictSame(visit.json(), { n: 1, principal: null })
})

test('L2 the new record is there before the old one goes', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  race.backend.held.add('create').add('remove')
  const rotating = race.visit(cookie, async session => { await session.regenerate(); return 'done' })
  const creating = await race.backend.next()
  t.equal(creating.verb, 'create')
  t.equal(await race.count(), 1)
  await creating.release()
  const removing = await race.backend.next()
  t.equal(removing.verb, 'remove')
  t.equal(await race.count(), 2)
  await removing.release()
  const rotated = cookieOf(await rotating)
  t.equal(await race.stored(cookie), null)
  t.strictSame(await race.stored(rotated), { n: 1 })
})

test('L15 destroy() then set: a new session under a new id', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 }, session => session.login('ada'))
  race.backend.held.add('create').add('remove')
  const visit = race.visit(cookie, async session => {
    await session.destroy()
    session.set('fresh', 1)
    return 'done'
  })
  const removing = await race.backend.next()
  t.equal(removing.verb, 'remove', 'the old one goes first')
  await removing.release()
  t.equal(await race.count(), 0)
  await (await race.backend.next('create')).release()
  race.backend.held.clear()
  const replaced = cookieOf(await visit)
  t.not(replaced, cookie)
  t.equal(await race.stored(cookie), null)
  t.strictSame(await race.stored(replaced), { fresh: 1 })
  t.equal((await race.visit(replaced, session => ({ principal: session.principal }))).body, '{"principal":null}')
})

test('L15 destroy() then login: the new session is the new user\'s', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 }, session => session.login('ada'))
  const replaced = cookieOf(await race.visit(cookie, async session => {
    await session.destroy()
    await session.login('bob')
    return 'done'
  }))
  t.equal(await race.stored(cookie), null)
  t.strictSame(await race.stored(replaced), {})
  t.equal((await race.visit(replaced, session => session.principal)).body, 'bob')
})

test('L15 destroy() holds although what was set after it cannot be saved', async t => {
  for (const [status, value] of [[500, 'x'.repeat(70_000)], [500, circular()], [503, 1]] as const) {
    const race = await startRace(t)
    const cookie = await race.begin({ n: 1 })
    if (status === 503) race.backend.create = async () => { throw new Error('broken') }
    const response = await race.visit(cookie, async session => {
      await session.destroy()
      session.set('fresh', {})
      Object.assign(session.get('fresh') as object, { value })
      return 'done'
    })
    t.equal(response.statusCode, status)
    t.strictSame(setCookies(response), [])
    t.equal(await race.stored(cookie), null)
  }
})

test('D8 L15 with a server error, destroy() is carried out and what was set after it is dropped', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  const response = await race.visit(cookie, async session => {
    await session.destroy()
    session.set('fresh', 1)
    throw new Error('broken')
  })
  t.equal(response.statusCode, 500)
  t.match(setCookies(response)[0], /Max-Age=0/)
  t.equal(await race.count(), 0)
})

function circular (): object {
  const value: Record<string, unknown> = {}
  value.self = value
  return value
}

// Within one request: verbs, saves and changes that nobody waited for.

const hasty: Record<string, (session: Session) => unknown> = {
  'destroy() after save()': session => { session.save(); session.destroy() },
  'destroy() between two saves': session => { session.save(); session.destroy(); session.save() },
  'destroy() after two saves': session => {
    session.set('x', 1)
    session.save()
    session.save()
    session.logout()
  },
  'destroy() after login()': session => { session.login('ada'); session.destroy() },
  'destroy() after reload()': session => { session.reload(); session.destroy() }
}

for (const [name, script] of Object.entries(hasty)) {
  test(`L4 ${name}, with nobody waiting, is carried out`, async t => {
    const race = await startRace(t)
    const cookie = await race.begin({ n: 1 })
    const response = await race.visit(cookie, session => { script(session); return 'done' })
    t.equal(response.statusCode, 200)
    t.match(setCookies(response)[0], /Max-Age=0/)
    t.equal(await race.count(), 0)
  })
}

test('L4 destroy() without load(), with nobody waiting, is carried out', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ n: 1 })
  const app = await startApp(t, { store: { type: 'custom', backend: race.backend }, clock: race.clock }, app => {
    app.get('/', async request => {
      request.session.logout()
      return 'done'
    })
  })
  const response = await app.inject({ url: '/', headers: { cookie } })
  t.equal(response.statusCode, 200)
  t.match(setCookies(response)[0], /Max-Age=0/)
  t.equal(await race.count(), 0)
})

test('R4 changes made while save() is under way are committed with the response', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ a: 0, list: [] })
  race.backend.held.add('update')
  const visit = race.visit(cookie, async session => {
    session.set('a', 1)
    const saving = session.save()
    session.set('a', 2)
    session.set('b', 1)
    ;(session.get('list') as number[]).push(1)
    await saving
    t.equal(session.isModified(), true)
    return 'done'
  })
  await (await race.backend.next('update')).release()
  t.strictSame(await race.stored(cookie), { a: 1, list: [] })
  await (await race.backend.next('update')).release()
  isSilent(t, await visit)
  t.strictSame(await race.stored(cookie), { a: 2, list: [1], b: 1 })
})

test('R5 counts made while save() is under way are exact, conflicts included', async t => {
  for (const meddlings of [['first'], ['second'], ['first', 'second']]) {
    const race = await startRace(t)
    const cookie = await race.begin({ n: 0 })
    const increment: Script = session => { session.update('n', n => Number(n) + 1) }
    race.backend.held.add('update')
    const visit = race.visit(cookie, async (session, ...rest) => {
      increment(session, ...rest)
      const saving = session.save()
      increment(session, ...rest)
      await saving
      return 'done'
    })
    let others = 0
    for (const turn of ['first', 'second']) {
      const step = await race.backend.next('update')
      if (meddlings.includes(turn)) {
        race.backend.held.clear()
        t.equal((await race.visit(cookie, async (...args) => { await increment(...args); return '' })).statusCode, 200)
        race.backend.held.add('update')
        others++
        await step.release()
        await (await race.backend.next('update')).release()
      } else await step.release()
    }
    isSilent(t, await visit)
    t.strictSame(await race.stored(cookie), { n: 2 + others }, meddlings.join(' and '))
  }
})

test('R4 what another wrote before a save() that failed is not overwritten by the next one', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ theirs: { v: 0 }, mine: 0 })
  const visit = await heldVisit(race, cookie, session => {
    t.strictSame(session.get('theirs'), { v: 0 })
    session.set('mine', 1)
  })
  await race.visit(cookie, set('theirs', { v: 1 }))
  race.backend.held.add('update')
  const finishing = visit.finish(async session => {
    await t.rejects(session.save(), { code: 'FST_SESSIONS_STORE' })
    t.strictSame(session.get('theirs'), { v: 1 }, 'it was read while saving')
    return 'done'
  })
  await (await race.backend.next('update')).release()
  const second = await race.backend.next('update')
  race.backend.held.clear()
  await race.visit(cookie, set('theirs', { v: 2 }))
  second.fail(new Error('broken'))
  isSilent(t, await finishing)
  t.strictSame(await race.stored(cookie), { theirs: { v: 2 }, mine: 1 })
})

test('L16 reload() while save() is under way does not undo what is saved', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ a: 0 })
  race.backend.held.add('update')
  const visit = race.visit(cookie, async session => {
    session.set('a', 1)
    const saving = session.save()
    const reloading = session.reload()
    await (await race.backend.next('update')).release()
    await Promise.all([saving, reloading])
    race.backend.held.clear()
    t.equal(session.get('a'), 1)
    session.set('b', 1)
    return 'done'
  })
  isSilent(t, await visit)
  t.strictSame(await race.stored(cookie), { a: 1, b: 1 })
})

test('L16 save() while reload() is under way saves nothing that was dropped', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ a: 0 })
  const visit = race.visit(cookie, async session => {
    session.set('a', 1)
    race.backend.held.add('read')
    const reloading = session.reload()
    const saving = session.save()
    await (await race.backend.next('read')).release()
    await Promise.all([saving, reloading])
    t.equal(session.get('a'), 0)
    return 'done'
  })
  isSilent(t, await visit)
  t.strictSame(await race.stored(cookie), { a: 0 })
})

test('L16 a reload() that fails drops nothing', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ a: 0 })
  const response = await race.visit(cookie, async session => {
    await session.destroy()
    race.backend.held.add('read')
    const reloading = session.reload()
    ;(await race.backend.next('read')).fail(new Error('broken'))
    await t.rejects(reloading, { code: 'FST_SESSIONS_STORE' })
    race.backend.held.clear()
    return 'done'
  })
  t.match(setCookies(response)[0], /Max-Age=0/)
  t.equal(await race.count(), 0)
})

test('L16 reload() drops what was asked for: data, login and destruction', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ a: 0 })
  for (const script of [set('a', 1), slow['logs in'], slow.regenerates, logout, slow['logs out and begins anew']]) {
    isSilent(t, await race.visit(cookie, async (session, ...rest) => {
      await script(session, ...rest)
      await session.reload()
      t.strictSame(session.data(), { a: 0 })
      t.equal(session.isModified(), false)
      return 'done'
    }))
    t.strictSame(await race.stored(cookie), { a: 0 })
  }
})

test('L3 login() while save() is under way rotates once more, and save() after login() only once', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ a: 0 })
  const rotated = watch(t, 'rotated')
  const response = await race.visit(cookie, async session => {
    session.set('a', 1)
    await Promise.all([session.save(), session.login('ada'), session.save(), session.touch(), session.save()])
    t.equal(session.isSaved(), true)
    return 'done'
  })
  const after = cookieOf(response)
  t.equal(rotated.length, 1)
  t.equal(await race.stored(cookie), null)
  t.strictSame(await race.stored(after), { a: 1 })
})

test('L17 a later failure leaves the cookie of what was saved before', async t => {
  const race = await startRace(t)
  const cookie = await race.begin({ a: 0 })
  const response = await race.visit(cookie, async session => {
    await session.login('ada')
    await session.save()
    session.set('a', 1)
    race.backend.update = async () => { throw new Error('broken') }
    return 'done'
  })
  t.equal(response.statusCode, 503)
  const rotated = cookieOf(response)
  t.equal(await race.stored(cookie), null)
  t.strictSame(await race.stored(rotated), { a: 0 })
})

test('R5 requests that lost against another write take turns, and do not fail each other again', async t => {
  const backend = counting(await memoryBackend())
  const stage = await startStage(t, { store: { type: 'custom', backend } })
  const cookie = cookieOf(await stage.visit('', session => { session.set('n', 0); return 'done' }))
  let waiting = 0
  let release = () => {}
  const everyone = new Promise<void>(resolve => { release = resolve })
  const conflicts = watch(t, 'conflict')
  await Promise.all(Array.from({ length: 30 }, () => stage.visit(cookie, async session => {
    if (++waiting === 30) release()
    await everyone
    session.update('n', n => Number(n) + 1)
    return 'done'
  })))
  t.strictSame((await stage.visit(cookie, session => session.data())).json(), { n: 30 })
  t.equal(backend.calls.filter(verb => verb === 'update').length, 30 + 29)
  t.equal(conflicts.length, 29)
})
