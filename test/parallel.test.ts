import type { SessionOptions } from '../lib/index.js'
import type { Stage } from './helpers/stage.js'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { heldVisit } from './helpers/pause.js'
import { fourProcesses } from './helpers/processes.js'
import { cookieOf, setCookies, startStage } from './helpers/stage.js'

const stores: Record<string, (directory: string) => SessionOptions['store']> = {
  memory: () => ({ type: 'memory' }),
  file: directory => ({ type: 'file', directory })
}

const begin = async ({ visit }: Stage) => {
  return cookieOf(await visit('', session => { session.set('n', 0); return 'done' }))
}
const data = async ({ visit }: Stage, cookie: string) => {
  return (await visit(cookie, session => session.data())).json()
}
const times = <T>(n: number, work: (i: number) => Promise<T>) => {
  return Promise.all(Array.from({ length: n }, (_, i) => work(i)))
}

for (const [name, store] of Object.entries(stores)) {
  test(`R4 ${name}: fifty parallel requests that each add a key add fifty`, async t => {
    const stage = await startStage(t, { store: store(t.testdir()), storeTimeout: 60 })
    const cookie = await begin(stage)
    const responses = await times(50, i => stage.visit(cookie, async session => {
      await sleep(Math.random() * 5)
      session.set(`key${i}`, i)
      return 'done'
    }))
    for (const response of responses) {
      t.equal(response.statusCode, 200)
      t.strictSame(setCookies(response), [])
    }
    const expected = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`key${i}`, i]))
    t.same(await data(stage, cookie), { n: 0, ...expected })
  })

  test(`R5 ${name}: fifty parallel requests that each count count exactly fifty`, async t => {
    const stage = await startStage(t, { store: store(t.testdir()), storeTimeout: 60 })
    const cookie = await begin(stage)
    const responses = await times(50, () => stage.visit(cookie, async session => {
      await sleep(Math.random() * 5)
      session.update('n', n => Number(n) + 1)
      return 'done'
    }))
    for (const response of responses) t.equal(response.statusCode, 200)
    t.strictSame(await data(stage, cookie), { n: 50 })
  })

  test(`L5 ${name}: a slow request that finishes after a logout, a thousand times`, async t => {
    const stage = await startStage(t, { store: store(t.testdir()), touchInterval: 0 })
    const slow: Array<Parameters<Stage['visit']>[1]> = [
      session => { session.set('late', 1) },
      session => session.touch(),
      session => session.login('mallory'),
      session => { session.update('n', n => Number(n) + 1) },
      session => session.regenerate()
    ]
    let cookies = 0
    let alive = 0
    let failed = 0
    for (let round = 0; round < 1000; round++) {
      const cookie = await begin(stage)
      const { finish } = await heldVisit(stage, cookie)
      const leaving = stage.visit(cookie, async session => { await session.logout(); return 'done' })
      // Every other time the two end at once; then what only changes data may come first.
      const isAtOnce = round % 2 === 1
      if (!isAtOnce) await leaving
      const response = await finish(isAtOnce ? slow[round % 4 === 1 ? 0 : 3] : slow[round / 2 % slow.length])
      await leaving
      // That a login was lost must be known.
      if (response.statusCode !== (!isAtOnce && round / 2 % slow.length === 2 ? 409 : 200)) failed++
      cookies += setCookies(response).length
      if (Object.keys(await data(stage, cookie)).length > 0) alive++
    }
    t.strictSame({ cookies, alive, failed }, { cookies: 0, alive: 0, failed: 0 })
  })
}

test('R11', async t => {
  const directory = t.testdir()
  fourProcesses({ test: t.test, name: 'file', store: () => ({ type: 'file', directory }) })
})
