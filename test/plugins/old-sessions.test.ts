import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import cookie from '@fastify/cookie'
import { test } from 'tap'
import type { Test } from 'tap'
import sessions from '../../lib/index.js'
import { createClient } from '../../lib/testing/client.js'
import { setCookies } from '../helpers/stage.js'
import { buildApp } from './moved-app/app.js'
import { registerBefore } from './moved-app/before.js'

const root = join(import.meta.dirname, '..', '..')
const secret = 'a secret of at least thirty-two characters'
const { MemoryStore } = createRequire(import.meta.url)('@fastify/session')

interface Kept { cookie: object, [key: string]: unknown }
type Adopt = (app: FastifyInstance, store: object, secret: string) => void

/** What the page about moving shows. */
async function shown (): Promise<Adopt> {
  const page = readFileSync(join(root, 'docs', 'moving-from-fastify-session.md'), 'utf8')
  const block = [...page.matchAll(/^```ts\n([^]*?)^```/gm)].find(([, code]) => code.includes('adoptOldSessions'))
  const folder = join(root, '.tap', 'moving')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'adopt.ts'), block![1])
  return (await import(join(folder, 'adopt.ts'))).adoptOldSessions
}

/** A browser that has logged in to the application on @fastify/session, before the switch and after it. */
async function start (t: Test) {
  const adopt = await shown()
  const kept = new Map<string, Kept>()
  const store = new MemoryStore(kept)
  const before = await buildApp(app => registerBefore(app, store))
  const after = await buildApp(async app => {
    await app.register(cookie)
    await app.register(sessions, { secret, load: 'eager', regenerate: 'clear' })
    adopt(app, store, secret)
  })
  t.teardown(() => Promise.all([before.close(), after.close()]))

  const old = createClient(before)
  await old.inject({ method: 'POST', url: '/basket', payload: { item: 'apple' } })
  await old.inject({ method: 'POST', url: '/login', payload: { name: 'ada' } })
  return { kept, after, presented: await old.cookies() }
}

test('an old session is taken along once', async t => {
  const { kept, after, presented } = await start(t)
  const response = await after.inject({ url: '/', headers: { cookie: presented } })
  t.same(response.json(), { user: 'ada', basket: ['apple'] })
  t.equal(kept.size, 0)
  const lines = setCookies(response)
  t.match(lines.find(line => line.startsWith('sessionId=')), /^sessionId=; Max-Age=0/)
  const renewed = lines.find(line => line.startsWith('__Host-session='))!.split(';')[0]
  t.notMatch(presented, renewed.split('=')[1])

  const next = await after.inject({ url: '/', headers: { cookie: renewed } })
  t.same(next.json(), { user: 'ada', basket: ['apple'] })
  const replayed = await after.inject({ url: '/', headers: { cookie: presented } })
  t.same(replayed.json(), { user: null, basket: [] })
})

test('an old session that is forged, unknown or expired is not', async t => {
  const { kept, after, presented } = await start(t)
  const visit = async (cookie: string) => {
    const response = await after.inject({ url: '/', headers: { cookie } })
    t.same(response.json(), { user: null, basket: [] })
    t.equal(setCookies(response).length, 1)
    t.match(setCookies(response)[0], /^sessionId=; Max-Age=0/)
  }
  await visit('sessionId=forged.signature')
  const [[id, session]] = kept
  kept.set(id, { ...session, cookie: { expires: new Date(Date.now() - 1) } })
  await visit(presented)
  t.equal(kept.size, 0)
  await visit(presented)
})

test('an old session does not replace a new one', async t => {
  const { kept, after, presented } = await start(t)
  const first = await after.inject({ method: 'POST', url: '/login', payload: { name: 'bob' } })
  const own = setCookies(first)[0].split(';')[0]
  const response = await after.inject({ url: '/', headers: { cookie: `${presented}; ${own}` } })
  t.same(response.json(), { user: 'bob', basket: [] })
  t.equal(kept.size, 1)
})
