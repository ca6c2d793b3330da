import csrf from '@fastify/csrf-protection'
import { test } from 'tap'
import type { SessionOptions } from '../../lib/index.js'
import { createClient } from '../../lib/testing/client.js'
import { startApp } from '../helpers/app.js'
import { counting, memoryBackend } from '../helpers/backends.js'
import { setCookies } from '../helpers/stage.js'

/** Names of interfaces that csrf-protection can use: properties of the session, or its get() and set(). */
const modes = ['@fastify/session', '@fastify/secure-session'] as const

async function start (
  t: Parameters<typeof startApp>[0], sessionPlugin: typeof modes[number], options: SessionOptions = {}
) {
  const backend = counting(await memoryBackend())
  const store = { type: 'custom', backend }
  const app = await startApp(t, { load: 'eager', store, ...options }, async app => {
    await app.register(csrf, { sessionPlugin, getUserInfo: request => String(request.session.get('user') ?? 'nobody') })
    app.get('/form', async (request, reply) => {
      return reply.generateCsrf({ userInfo: String(request.session.get('user') ?? 'nobody') })
    })
    app.get('/short', async (_request, reply) => reply.generateCsrf({ userInfo: 'nobody', maxAge: 60 }))
    app.post('/login', async request => {
      await request.session.regenerate()
      request.session.set('user', 'ada')
    })
    app.post('/transfer', { onRequest: app.csrfProtection }, async () => 'done')
  })
  const client = createClient(app)
  const transfer = (token?: string) => {
    return client.inject({ method: 'POST', url: '/transfer', headers: token === undefined ? {} : { 'csrf-token': token } })
  }
  return { app, client, transfer, backend }
}

for (const mode of modes) {
  test(`@fastify/csrf-protection as with ${mode}: a token is good for the session it was made in`, async t => {
    const { app, client, transfer } = await start(t, mode)
    const form = await client.inject('/form')
    t.equal(setCookies(form).length, 1)
    t.equal((await transfer(form.body)).statusCode, 200)
    t.equal((await transfer('forged')).json().code, 'FST_CSRF_INVALID_TOKEN')
    t.equal((await transfer()).statusCode, 403)

    const again = await client.inject('/form')
    t.not(again.body, form.body)
    t.same(setCookies(again), [], 'the secret is made once')
    t.equal((await transfer(again.body)).statusCode, 200)

    const other = createClient(app)
    const headers = { 'csrf-token': form.body }
    const missing = await other.inject({ method: 'POST', url: '/transfer', headers })
    t.equal(missing.json().code, 'FST_CSRF_MISSING_SECRET')
    await other.inject('/form')
    t.equal((await other.inject({ method: 'POST', url: '/transfer', headers })).statusCode, 403)
  })

  test(`@fastify/csrf-protection as with ${mode}: a token is good for the user it was made for`, async t => {
    const { client, transfer } = await start(t, mode)
    const anonymous = (await client.inject('/form')).body
    const before = await client.cookies()
    await client.inject({ method: 'POST', url: '/login' })
    t.not(await client.cookies(), before)
    t.equal((await transfer(anonymous)).statusCode, 403)
    t.equal((await transfer((await client.inject('/form')).body)).statusCode, 200)
  })

  test(`@fastify/csrf-protection as with ${mode}: a refused request stores nothing`, async t => {
    const { transfer, backend } = await start(t, mode)
    const response = await transfer('forged')
    t.equal(response.statusCode, 403)
    t.same(setCookies(response), [])
    t.same(backend.calls, [])
  })

  test(`@fastify/csrf-protection as with ${mode}: regenerate: clear makes a new secret`, async t => {
    const { client, transfer } = await start(t, mode, { regenerate: 'clear' })
    await client.inject('/form')
    await client.inject({ method: 'POST', url: '/login' })
    t.equal((await transfer('any')).json().code, 'FST_CSRF_MISSING_SECRET')
  })
}

test('P6 @fastify/csrf-protection as with @fastify/secure-session: cookie options reach the cookie', async t => {
  const { client, transfer } = await start(t, '@fastify/secure-session')
  const form = await client.inject('/short')
  t.match(setCookies(form), [/; Max-Age=60; Path=\/; HttpOnly; Secure; SameSite=Lax$/])
  t.equal((await transfer(form.body)).statusCode, 200)
})
