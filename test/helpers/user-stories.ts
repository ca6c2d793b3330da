import assert from 'node:assert/strict'
import type { LightMyRequestResponse as Response } from 'fastify'
import type { SessionOptions } from '../../lib/index.js'
import type { StorePlugin } from '../../lib/define-store.js'
import { TestClock } from '../../lib/testing/clock.js'
import { principals } from '../../lib/testing/backend-samples.js'
import type { Script, Stage } from './stage.js'
import { cookieOf, setCookies, startStage } from './stage.js'

export interface UserStories {
  /** Registers one story: `test` of tap or node:test. */
  test: (name: string, run: () => Promise<void>) => unknown
  /** Put before each story's name. */
  name: string
  /**
   * The store on a running engine.
   *
   * @param space at most 20 of `[a-z0-9_]`, for the prefix, table or directory
   */
  store (space: string): StorePlugin
  /** An index that follows a moment later. Default 'exact'. */
  index?: 'exact' | 'eventual'
}

interface Scene extends Stage {
  clock: TestClock
  /** Logs in from a new browser, or from one with this cookie. Resolves to the cookie. */
  logIn (user: string, cookie?: string): Promise<string>
  /** What the session of a cookie is. */
  who (cookie: string): Promise<{ principal: string | null, id: string | null }>
  handles (user: string): Promise<string[]>
}

const anonymous = { principal: null, id: null }
let spaces = 0

/** U1 to U5, over inject(). */
export function userStories ({ test, name, store, index = 'exact' }: UserStories): void {
  const story = (title: string, options: SessionOptions, run: (scene: Scene) => Promise<void>) => {
    test(`${name}: ${title}`, async () => {
      const ends: Array<() => unknown> = []
      const clock = new TestClock()
      const space = `users${process.pid}_${++spaces}`
      const stage = await startStage(
        { teardown: end => ends.push(end) }, { store: store(space), clock, ...options }
      )
      try {
        await run(scene(stage, clock))
      } finally {
        for (const end of ends) await end()
      }
    })
  }

  story('U1 the sessions of a user', { metadata: true }, async ({ app, clock, visit, who }) => {
    const from = async (agent: string, user = 'ada') => {
      clock.advance(1)
      const headers = { 'user-agent': agent }
      return cookieOf(await visit('', session => session.login(user).then(() => 'done'), { headers }))
    }
    const start = clock.now()
    const cookies = [await from('Firefox'), await from('Safari'), await from('Chrome')]
    await from('Edge', 'bob')
    await visit('', session => { session.set('nobody', 1); return 'done' })
    clock.advance(61)
    await visit(cookies[0], session => session.data())

    const ids = await Promise.all(cookies.map(async cookie => (await who(cookie)).id!))
    const list = await app.sessions.listByUser('ada', { current: ids[1] })
    const times = (n: number, seen = n) => ({
      createdAt: start + n * 1000, lastSeenAt: start + seen * 1000, expiresAt: start + (seen + 1800) * 1000
    })
    const seen = 4 + 61
    assert.deepEqual(list, [
      { handle: ids[2], ...times(3, seen), ip: '127.0.0.1', userAgent: 'Chrome', current: false },
      { handle: ids[1], ...times(2, seen), ip: '127.0.0.1', userAgent: 'Safari', current: true },
      { handle: ids[0], ...times(1, seen), ip: '127.0.0.1', userAgent: 'Firefox', current: false }
    ])
    assert.deepEqual(await app.sessions.listByUser('nobody'), [])
  })

  story('U2 each session can be ended by its handle', {}, async ({ app, logIn, who, handles }) => {
    const [one, two] = [await logIn('ada'), await logIn('ada')]
    const { id } = await who(one)
    assert.equal(await app.sessions.destroy(id!), true)
    assert.equal(await app.sessions.destroy(id!), false)
    assert.deepEqual(await who(one), anonymous)
    assert.deepEqual(await handles('ada'), [(await who(two)).id])
  })

  story('U2 all but one, and no request brings them back', {}, async ({ app, visit, logIn, who }) => {
    const cookies = [await logIn('ada'), await logIn('ada'), await logIn('ada')]
    const bob = await logIn('bob')
    const late: Script[] = [
      session => { session.set('late', 1) }, session => session.touch(),
      session => session.regenerate(), session => session.login('ada')
    ]
    let ended = 0
    const responses: Response[] = []
    for (const script of late) {
      responses.push(await visit(await logIn('ada'), async (session, request, reply) => {
        ended += await app.sessions.destroyByUser('ada', { except: (await who(cookies[0])).id! })
        await script(session, request, reply)
        return 'done'
      }))
    }
    assert.equal(ended, 6)
    assert.deepEqual(responses.map(({ statusCode }) => statusCode), [200, 200, 200, 409])
    assert.deepEqual(responses.flatMap(setCookies), [])
    for (const gone of cookies.slice(1)) assert.deepEqual(await who(gone), anonymous)
    assert.equal((await who(cookies[0])).principal, 'ada')
    assert.equal((await who(bob)).principal, 'bob')
    assert.equal(await app.sessions.count(), 2)
    assert.equal(await app.sessions.destroyByUser('ada'), 1)
    assert.equal(await app.sessions.destroyByUser('ada'), 0)
  })

  story('U3 the list follows rotation, another user and the log-out', {}, async scene => {
    const { visit, logIn, who, handles } = scene
    const cookie = await logIn('ada')
    const rotated = cookieOf(await visit(cookie, session => session.regenerate().then(() => 'done')))
    assert.deepEqual(await handles('ada'), [(await who(rotated)).id])
    const changed = await logIn('bob', rotated)
    assert.deepEqual(await handles('ada'), [])
    assert.deepEqual(await handles('bob'), [(await who(changed)).id])
    await visit(changed, session => session.logout().then(() => 'done'))
    assert.deepEqual(await handles('bob'), [])
  })

  story('U3 the list shrinks as sessions expire', {}, async ({ clock, logIn, who, handles, app }) => {
    const idle = await logIn('ada')
    clock.advance(900)
    const used = await logIn('ada')
    clock.advance(900)
    assert.deepEqual(await handles('ada'), [(await who(used)).id])
    assert.deepEqual(await who(idle), anonymous)
    assert.equal(await app.sessions.destroyByUser('ada'), 1)
  })

  story('U3 a user is any string', {}, async ({ app, logIn, who, handles }) => {
    const users = principals.filter(user => user !== '')
    const cookies: string[] = []
    for (const user of users) cookies.push(await logIn(user))
    for (const [i, user] of users.entries()) {
      assert.deepEqual(await handles(user), [(await who(cookies[i])).id])
    }
    for (const user of users) assert.equal(await app.sessions.destroyByUser(user), 1)
    assert.equal(await app.sessions.count(), 0)
  })

  if (index === 'exact') {
    story('U4 the oldest ends when there is one too many', { maxPerUser: 2 }, async ({ clock, logIn, who }) => {
      const cookies: string[] = []
      for (let n = 0; n < 4; n++) {
        cookies.push(await logIn('ada'))
        clock.advance(1)
      }
      await logIn('bob')
      const principals = await Promise.all(cookies.map(async cookie => (await who(cookie)).principal))
      assert.deepEqual(principals, [null, null, 'ada', 'ada'])
      const again = await logIn('ada', cookies[2])
      assert.deepEqual((await who(again)).principal, 'ada')
      assert.deepEqual((await who(cookies[3])).principal, 'ada', 'a login in place of another needs no room')
    })

    const refuse = { maxPerUser: 2, onMaxPerUser: 'refuse' } as const
    story('U4 or the new one is refused', refuse, async ({ visit, logIn, handles, who }) => {
      const cookies = [await logIn('ada'), await logIn('ada')]
      const visitor = cookieOf(await visit('', session => { session.set('n', 1); return 'done' }))
      for (const cookie of ['', visitor]) {
        const refused = await visit(cookie, session => session.login('ada').then(() => 'done'))
        assert.deepEqual([refused.statusCode, refused.json().code], [409, 'FST_SESSIONS_TOO_MANY'])
        assert.deepEqual(setCookies(refused), [])
      }
      assert.equal((await handles('ada')).length, 2)
      assert.deepEqual((await visit(visitor, session => session.data())).json(), { n: 1 }, 'the visitor stays')
      await logIn('ada', cookies[0])
      await visit(cookies[1], session => session.logout().then(() => 'done'))
      await logIn('ada', visitor)
      assert.deepEqual((await who(visitor)), anonymous)
    })

    for (const onMaxPerUser of ['evict', 'refuse'] as const) {
      story(`U4 logins at the same time: ${onMaxPerUser}`, { maxPerUser: 3, onMaxPerUser, storeTimeout: 30 },
        async ({ visit, logIn, who, handles }) => {
          const visitors = await Promise.all(Array.from({ length: 4 }, async () => {
            return cookieOf(await visit('', session => { session.set('n', 1); return 'done' }))
          }))
          const responses = await Promise.all([...visitors, '', '', '', ''].map(cookie => {
            return visit(cookie, session => session.login('ada').then(() => 'done'))
          }))
          const admitted = responses.filter(({ statusCode }) => statusCode === 200).map(cookieOf)
          assert.ok(responses.every(({ statusCode }) => statusCode === 200 || statusCode === 409))
          const alive = (await Promise.all(admitted.map(who))).filter(({ principal }) => principal === 'ada')
          assert.ok(alive.length <= 3, `${alive.length} are alive`)
          assert.deepEqual((await handles('ada')).sort(), alive.map(({ id }) => id).sort())
          for (let n = alive.length; n < 3; n++) await logIn('ada')
          assert.equal((await handles('ada')).length, 3)
        })
    }
  }

  story('U5 counting and sweeping', {}, async ({ app, clock, visit, logIn }) => {
    assert.equal(await app.sessions.count(), 0)
    await logIn('ada')
    await visit('', session => { session.set('n', 1); return 'done' })
    clock.advance(1000)
    await logIn('bob')
    assert.equal(await app.sessions.count(), 3)
    clock.advance(1000)
    assert.equal(await app.sessions.count(), 1)
    assert.ok([0, 2].includes(await app.sessions.sweep()), 'the engine may have been faster')
    assert.equal(await app.sessions.sweep(), 0)
    assert.equal(await app.sessions.count(), 1)
  })
}

function scene (stage: Stage, clock: TestClock): Scene {
  const { app, visit } = stage
  return {
    ...stage,
    clock,
    async logIn (user, cookie = '') {
      return cookieOf(await visit(cookie, session => session.login(user).then(() => 'done')))
    },
    async who (cookie) {
      const response = await visit(cookie, ({ principal, id }) => ({ principal, id }))
      return response.json()
    },
    async handles (user) {
      return (await app.sessions.listByUser(user)).map(({ handle }) => handle)
    }
  }
}
