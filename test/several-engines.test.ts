import csrf from '@fastify/csrf-protection'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Kysely, SqliteDialect } from 'kysely'
import type { SqliteDatabase } from 'kysely'
import type { Test } from 'tap'
import { test } from 'tap'
import { createClient } from '../lib/testing/client.js'
import type { Tables } from '../stores/sql-database.js'
import { noRedis, startOwnRedis } from './engines/redis.js'
import { startApp } from './helpers/app.js'
import { setCookies } from './helpers/stage.js'

/** A csrf secret sealed in its cookie, the login in Redis, the rest in SQL; each engine is listened to. */
async function startShop (t: Test) {
  const { url, control } = await startOwnRedis(t)
  const said: string[] = []
  const probe = new Redis(url).on('error', () => {})
  t.teardown(() => probe.disconnect())
  const listener = await probe.monitor()
  t.teardown(() => listener.disconnect())
  listener.on('error', () => {}).on('monitor', (_time, [command]) => { said.push(`redis ${command.toLowerCase()}`) })

  const Driver = createRequire(import.meta.url)('libsql') as new (name: string) => SqliteDatabase
  const db = new Kysely<Tables>({
    dialect: new SqliteDialect({ database: new Driver(join(t.testdir(), 'shop.db')) }),
    log: ({ query: { sql } }) => {
      if (/^(select|insert|update|delete)/.test(sql)) said.push(`sql ${sql.split(' ')[0]}`)
    }
  })
  t.teardown(() => db.destroy())

  const app = await startApp(t, {
    secret: 's'.repeat(32),
    sessions: {
      csrf: { store: { type: 'cookie' }, fields: ['_csrf'], load: 'eager', cookie: { sameSite: 'strict' } },
      auth: { store: { type: 'redis', url }, fields: ['principal', 'user'], encryption: true },
      rest: { store: { type: 'sql', dialect: 'sqlite', db, createTable: true } }
    }
  }, async app => {
    await app.register(csrf, { sessionPlugin: '@fastify/secure-session' })
    app.get('/form', async (_request, reply) => ({ token: reply.generateCsrf() }))
    app.post('/login', { onRequest: app.csrfProtection }, async ({ session }) => {
      await session.part('auth').login('ada')
      session.set('user', 'Ada')
    })
    app.post('/cart', { onRequest: app.csrfProtection }, async ({ session }) => {
      await session.load(['cart'])
      session.set('cart', [...session.get('cart') as string[] ?? [], 'apple'])
    })
    app.post('/check', { onRequest: app.csrfProtection }, async () => 'checked')
    app.get('/all', async ({ session }) => {
      const { _csrf, ...data } = (await session.load()).data()
      return { secret: typeof _csrf, ...data, principal: session.principal }
    })
    app.get('/health', async () => 'ok')
    app.post('/logout', async ({ session }) => session.logout())
  })
  const client = createClient(app)
  /** The response, with what it made the engines do. */
  const send = async (method: 'GET' | 'POST', url: string, token?: string) => {
    said.length = 0
    const response = await client.inject({ method, url, headers: token === undefined ? {} : { 'csrf-token': token } })
    // The monitor hears commands in their order, but later: up to this one.
    await probe.ping()
    while (!said.includes('redis ping')) await nextTurn()
    const commands = said.filter(line => !/ (info|ping|client)$/.test(line))
    return { response, said: commands, names: setCookies(response).map(nameOf) }
  }
  return { client, send, control }
}

const nameOf = (line: string) => line.split('=')[0].replace('__Host-', '')

test('a csrf secret in a sealed cookie, the login in Redis, everything else in SQL', { skip: noRedis }, async t => {
  const { client, send, control } = await startShop(t)
  await send('POST', '/login')
  const form = await send('GET', '/form')
  t.strictSame(form.said, [], 'the csrf secret needs no server')
  t.strictSame(form.names, ['csrf'])
  const { token } = form.response.json()

  t.equal((await send('POST', '/check')).response.statusCode, 403)
  const checked = await send('POST', '/check', token)
  t.equal(checked.response.body, 'checked')
  t.strictSame([checked.said, checked.names], [[], []])
  t.strictSame((await send('GET', '/health')).said, [])

  await send('POST', '/login', token)
  const login = await send('POST', '/login', token)
  t.strictSame(login.names, ['auth'])
  t.notOk(login.said.some(line => line.startsWith('sql')), 'a login touches Redis only')

  const first = await send('POST', '/cart', token)
  t.strictSame([first.said.filter(line => line !== 'sql select'), first.names], [['sql insert'], ['rest']])
  const second = await send('POST', '/cart', token)
  t.strictSame([second.said, second.names], [['sql select', 'sql update'], []])

  const all = await send('GET', '/all')
  t.strictSame(all.response.json(), { secret: 'string', user: 'Ada', cart: ['apple', 'apple'], principal: 'ada' })
  t.strictSame(all.said.sort(), ['redis hmget', 'sql select'])

  // Redis is down: only those who use its fields fail, and no cookie is lost.
  await control.kill()
  t.equal((await client.inject({ method: 'POST', url: '/check', headers: { 'csrf-token': token } })).statusCode, 200)
  const cart = await client.inject({ method: 'POST', url: '/cart', headers: { 'csrf-token': token } })
  t.equal(cart.statusCode, 200)
  const failed = await client.inject('/all')
  t.equal(failed.statusCode, 503)
  t.strictSame(setCookies(failed), [])
})
