import flash from '@fastify/flash'
import { test } from 'tap'
import { createClient } from '../../lib/testing/client.js'
import { startApp } from '../helpers/app.js'
import { counting, memoryBackend } from '../helpers/backends.js'

async function start (t: Parameters<typeof startApp>[0]) {
  const backend = counting(await memoryBackend())
  const app = await startApp(t, { load: 'eager', store: { type: 'custom', backend } }, async app => {
    await app.register(flash)
    app.post<{ Body: { kind: string, text: string[] } }>('/', async (request, reply) => {
      request.flash(request.body.kind, request.body.text)
      return reply.redirect('/', 303)
    })
    app.get<{ Querystring: { kind?: string } }>('/', async (request, reply) => reply.flash(request.query.kind))
    app.post('/cart', async request => { request.session.set('cart', ['apple']) })
    app.get('/data', async request => request.session.data())
  })
  const client = createClient(app)
  const get = async (url: string) => (await client.inject(url)).json()
  const post = (url: string, payload = {}) => client.inject({ method: 'POST', url, payload })
  return { client, get, post, calls: () => backend.calls.splice(0).map(String), backend }
}

test('@fastify/flash: a message lives until it is read, once', async t => {
  const { client, get, post, backend } = await start(t)
  const response = await post('/', { kind: 'error', text: ['wrong password'] })
  t.equal(response.statusCode, 303)
  await post('/', { kind: 'error', text: ['locked'] })
  await post('/', { kind: 'info', text: ['hello'] })
  t.same(await get('/?kind=error'), ['wrong password', 'locked'])
  t.same(await get('/?kind=error'), [])
  t.same(await get('/'), { info: ['hello'] })
  t.same(await get('/'), {})
  t.equal(await backend.count!(), 0, 'a session that was made for messages ends with them')
  t.equal(await client.cookies(), '')
})

test('@fastify/flash: reading as an anonymous visitor stores nothing and sets no cookie', async t => {
  const { client, calls } = await start(t)
  for (const url of ['/', '/?kind=error']) {
    const response = await client.inject(url)
    t.equal(response.statusCode, 200)
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.same(calls(), [])
})

test('@fastify/flash: where there are no messages, reading them writes nothing', async t => {
  const { get, post, calls } = await start(t)
  await post('/cart')
  calls()
  await get('/?kind=error')
  await get('/')
  t.same(calls(), ['read', 'read'])
  await post('/', { kind: 'error', text: ['sold out'] })
  await get('/')
  t.same(await get('/data'), { cart: ['apple'] })
})
