import type { Session } from '../lib/index.js'
import type { Test } from 'tap'
import { Type } from '@sinclair/typebox'
import { channel } from 'node:diagnostics_channel'
import { test } from 'tap'
import { TestClock } from '../lib/testing/clock.js'
import { createClient } from '../lib/testing/client.js'
import { defineStore } from '../lib/define-store.js'
import { openBackend } from '../lib/testing/open-store.js'
import { startApp } from './helpers/app.js'

/** Calls back whenever the event is told, also in the middle of what tells it. */
function during (t: Test, event: string, act: () => void) {
  const events = channel(`fastify-sessions:${event}`)
  events.subscribe(act)
  t.teardown(() => events.unsubscribe(act))
}

test('a store in memory: whoever saves while a commit tells something waits for his turn', async t => {
  let saved: Session | undefined
  let nested: Promise<void> | undefined
  const app = await startApp(t, {}, app => {
    app.post('/fill', async request => (await request.session.load()).set('n', 1))
    app.post('/empty', async request => {
      saved = await request.session.load()
      saved.delete('n')
      await saved.save()
      await nested
      return 'saved'
    })
  })
  during(t, 'destroyed', () => { nested ??= saved?.save() })
  const client = createClient(app)
  await client.inject({ method: 'POST', url: '/fill' })
  t.equal((await client.inject({ method: 'POST', url: '/empty' })).body, 'saved')
  t.match(nested, Promise)
  t.equal(await client.cookies(), '', 'and the cookie is gone')
})

test('a store in memory: what is set while a commit tells something is written next', async t => {
  const clock = new TestClock()
  let saved: Session | undefined
  let nested: Promise<void> | undefined
  const app = await startApp(t, { clock, renewInterval: 1 }, app => {
    app.post('/first', async request => (await request.session.load()).set('n', 1))
    app.post('/second', async request => {
      saved = await request.session.load()
      saved.set('n', 2)
      await saved.save()
      await nested
      return saved.isModified()
    })
    app.get('/', async request => (await request.session.load()).data())
  })
  during(t, 'rotated', () => {
    if (saved === undefined || nested !== undefined) return
    saved.set('m', 5)
    nested = saved.save()
  })
  const client = createClient(app)
  await client.inject({ method: 'POST', url: '/first' })
  clock.advance(5)
  t.equal((await client.inject({ method: 'POST', url: '/second' })).body, 'false')
  t.strictSame((await client.inject('/')).json(), { n: 2, m: 5 })
})

test('whoever loads while a load tells something shares it', async t => {
  let session: Session | undefined
  let told = 0
  during(t, 'rejected', () => {
    told++
    session?.load().catch(() => {})
  })
  const app = await startApp(t, {}, app => {
    app.get('/', async request => {
      session = request.session
      return (await session.load()).isNew
    })
  })
  t.equal((await app.inject({ url: '/', headers: { cookie: '__Host-session=malformed' } })).body, 'true')
  t.equal(told, 1)
})

test('openBackend: what answers at once does so by promise there, and keeps its abilities', async t => {
  class Nothing {
    #size = 0
    read () { return null }
    create () { return true }
    update () { return 'missing' as const }
    touch () { return false }
    remove () { return 'missing' as const }
    count () { return this.#size }
    async * keysOf () { if (this.#size > 0) yield { key: '', createdAt: 0, expiresAt: 0 } }
  }
  const nothing = defineStore({
    type: 'nothing',
    options: Type.Object({}),
    open: () => ({ prompt: { backend: new Nothing() } })
  })
  const { backend, close } = await openBackend(nothing())
  t.teardown(close)
  for (const answer of [backend.read(''), backend.touch('', 1), backend.count!()]) t.match(answer, Promise)
  t.equal(await backend.count!(), 0)
  t.equal(backend.sweep, undefined)
  t.match(await backend.keysOf!('ada')[Symbol.asyncIterator]().next(), { done: true })
})
