import { join } from 'node:path'
import { test } from 'tap'
import type { Test } from 'tap'
import type { SessionOptions } from '../../lib/index.js'
import type { StorePlugin } from '../../lib/define-store.js'
import { createClient } from '../../lib/testing/client.js'
import { cookieStore } from '../../stores/cookie.js'
import { fileStore } from '../../stores/file.js'
import { memoryStore } from '../../stores/memory.js'
import { redisStore } from '../../stores/redis.js'
import { sqlStore } from '../../stores/sql.js'
import { noRedis, startRedis } from '../engines/redis.js'
import { startApp } from '../helpers/app.js'

interface Kind { name: string, options: SessionOptions, shape: RegExp }

const secret = 'a secret of the matrix of stores, thirty-two bytes'
const withIds: readonly Kind[] = [
  { name: 'plain', options: {}, shape: /^[\w-]{43}$/ },
  { name: 'signed', options: { secret }, shape: /^[\w-]{43}\.[\w-]{43}$/ },
  { name: 'signed and encrypted', options: { secret, encryption: true }, shape: /^[\w-]{43}\.[\w-]{43}$/ }
]
const sealed: readonly Kind[] = [{ name: 'sealed', options: { secret }, shape: /^[\w-]{100,}$/ }]

/** T5: every kind of cookie that a store has, for the only session and for two. */
function matrix (t: Test, open: (space: string) => StorePlugin, kinds = withIds) {
  for (const [i, { name, options, shape }] of kinds.entries()) {
    const sessions = { auth: { fields: ['principal', 'user'] }, rest: {} }
    t.test(`${name}, one`, async t => story(t, { ...options, store: open(`one${i}`) }, shape))
    t.test(`${name}, several`, async t => story(t, { ...options, store: open(`two${i}`), sessions }, shape))
  }
}

async function story (t: Test, options: SessionOptions, shape: RegExp) {
  const app = await startApp(t, options, app => {
    app.get('/', async request => {
      const session = await request.session.load()
      return { ...session.data(), principal: session.principal }
    })
    app.post('/pear', async request => {
      const session = await request.session.load()
      session.update('cart', (cart = []) => [...cart, 'pear'])
    })
  })
  const client = createClient(app)
  const other = createClient(app)
  const shown = async () => (await client.inject('/')).json()

  t.equal(await client.session(), null)
  await client.transaction(async session => {
    await session.login('ada')
    session.set('user', 'Ada')
    session.set('cart', ['apple'])
  })
  const cookies = (await client.cookies()).split('; ')
  t.equal(cookies.length, options.sessions === undefined ? 1 : 2)
  for (const cookie of cookies) t.match(cookie.split('=')[1], shape)
  t.strictSame(await shown(), { user: 'Ada', cart: ['apple'], principal: 'ada' })

  await client.inject({ method: 'POST', url: '/pear' })
  await client.transaction(session => { (session.get('cart') as string[]).push('plum') })
  const before = await client.session()
  t.match(before, { principal: 'ada', data: { user: 'Ada', cart: ['apple', 'pear', 'plum'] } })
  t.strictSame(await shown(), { user: 'Ada', cart: ['apple', 'pear', 'plum'], principal: 'ada' })
  t.equal(await other.session(), null)

  const kept = await client.cookies()
  await t.rejects(client.transaction(async session => {
    session.set('cart', [])
    await session.logout()
    throw new Error('on purpose')
  }), { message: 'on purpose' })
  t.equal(await client.cookies(), kept)
  t.strictSame(await client.session(), before)

  await client.transaction(session => session.logout())
  t.equal(await client.cookies(), '')
  t.equal(await client.session(), null)
  t.strictSame(await shown(), { principal: null })
}

test('memory', async t => matrix(t, () => memoryStore()))

test('file', async t => {
  const root = t.testdir()
  matrix(t, space => fileStore({ directory: join(root, space) }))
})

test('redis', { skip: noRedis }, async t => {
  const { url } = await startRedis(t)
  matrix(t, space => redisStore({ url, prefix: space }))
})

test('sqlite', async t => {
  const filename = join(t.testdir(), 'sessions.db')
  matrix(t, space => sqlStore({ dialect: 'sqlite', filename, table: space, createTable: true }))
})

test('cookie', async t => matrix(t, () => cookieStore(), sealed))
