import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { test } from 'tap'
import { createClient } from '../../lib/testing/client.js'
import { buildApp } from './moved-app/app.js'
import { registerAfter } from './moved-app/after.js'
import { registerBefore } from './moved-app/before.js'

async function start (t: Test, register: (app: FastifyInstance) => Promise<void>) {
  const app = await buildApp(register)
  t.teardown(() => app.close())
  const client = createClient(app)
  const send = (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object, headers = {}) => {
    return client.inject({ method, url, payload, headers })
  }
  return {
    client,
    send,
    post: async (url: string, payload?: object) => (await send('POST', url, payload)).json(),
    get: async (url: string) => (await client.inject(url)).json(),
    as: async (cookie: string) => (await app.inject({ url: '/', headers: { cookie } })).json()
  }
}

for (const [name, register] of [['@fastify/session', registerBefore], ['fastify-sessions', registerAfter]] as const) {
  const story = (title: string, run: (t: Test, app: Awaited<ReturnType<typeof start>>) => Promise<void>) => {
    test(`the application on ${name}: ${title}`, async t => run(t, await start(t, register)))
  }

  story('a reader gets no cookie', async (t, { client, get }) => {
    t.same(await get('/'), { user: null, basket: [] })
    t.equal(await client.cookies(), '')
  })

  story('the first write sets a persistent cookie', async (t, { client, send, get }) => {
    const response = await send('POST', '/basket', { item: 'apple' })
    t.match(response.headers['set-cookie'], /^sessionId=[^;]+; .*(Max-Age|Expires)=/)
    t.notMatch(response.headers['set-cookie'], /Secure/)
    await send('POST', '/basket', { item: 'pear' })
    t.same(await get('/'), { user: null, basket: ['apple', 'pear'] })
    await client.clear()
    t.same(await get('/'), { user: null, basket: [] })
  })

  story('a login has a new id, and the old one is dead', async (t, { client, send, get, as }) => {
    await send('POST', '/basket', { item: 'apple' })
    const before = await client.cookies()
    const response = await send('POST', '/login', { name: 'ada' })
    t.equal(response.headers.location, '/')
    const after = await client.cookies()
    t.not(after, before)
    t.same(await get('/'), { user: 'ada', basket: ['apple'] })
    t.same(await as(before), { user: null, basket: [] })
  })

  story('changes inside objects are kept', async (t, { send, post, get }) => {
    await send('POST', '/login', { name: 'ada' })
    t.equal(await post('/visit'), 1)
    t.equal(await post('/visit'), 2)
    t.equal(await post('/note', { text: 'one' }), true)
    await post('/note', { text: 'two' })
    t.same(await get('/note'), { all: ['one', 'two'], last: 'two' })
    await send('DELETE', '/note')
    t.same(await get('/note'), { all: ['one', 'two'] })
    await send('DELETE', '/notes')
    t.equal((await send('GET', '/note')).json(), null)
  })

  story('what needs a user refuses others', async (t, { send }) => {
    t.equal((await send('POST', '/visit')).statusCode, 401)
  })

  story('regenerate() without keys forgets everything', async (t, { client, send, post, get, as }) => {
    await send('POST', '/basket', { item: 'apple' })
    const before = await client.cookies()
    t.same(await post('/forget'), [])
    t.not(await client.cookies(), before)
    t.same(await get('/'), { user: null, basket: [] })
    t.same(await as(before), { user: null, basket: [] })
  })

  story('reload() drops changes', async (t, { send, post, get }) => {
    await send('POST', '/basket', { item: 'apple' })
    t.same(await post('/draft'), ['apple'])
    t.same(await get('/'), { user: null, basket: ['apple'] })
  })

  for (const url of ['/logout', '/leave']) {
    story(`${url} ends the session, for who replays the cookie too`, async (t, { client, send, get, as }) => {
      await send('POST', '/login', { name: 'ada' })
      const cookie = await client.cookies()
      t.ok((await send('POST', url)).statusCode < 400)
      t.same(await get('/'), { user: null, basket: [] })
      t.same(await as(cookie), { user: null, basket: [] })
    })
  }

  story('forms are protected', async (t, { send }) => {
    const token = (await send('GET', '/form')).body
    t.equal((await send('POST', '/transfer', {}, { 'csrf-token': token })).statusCode, 200)
    t.equal((await send('POST', '/transfer', {}, { 'csrf-token': 'forged' })).statusCode, 403)
  })
}
