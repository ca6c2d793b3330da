import type { FastifyInstance } from 'fastify'
import { Authenticator } from '@fastify/passport'
import { Strategy as LocalStrategy } from 'passport-local'
import { test } from 'tap'
import type { SessionOptions } from '../../lib/index.js'
import { createClient } from '../../lib/testing/client.js'
import { startApp } from '../helpers/app.js'
import { memoryBackend } from '../helpers/backends.js'

interface User { id: string, name: string }

const users: Record<string, User> = { ada: { id: 'u1', name: 'Ada' }, bob: { id: 'u2', name: 'Bob' } }
const byId = (id: string) => Object.values(users).find(user => user.id === id) ?? null

type PassportOptions = ConstructorParameters<typeof Authenticator>[0]

interface Start { passport?: PassportOptions, session?: SessionOptions, keepSessionInfo?: boolean }

/** An application as the README of @fastify/passport has it. */
async function start (t: Parameters<typeof startApp>[0], settings: Start = {}) {
  const { passport: options, session, keepSessionInfo } = settings
  const backend = await memoryBackend()
  const passport = new Authenticator(options)
  passport.use(new LocalStrategy((name, password, done) => {
    done(null, password === 'right' && users[name] !== undefined && users[name])
  }))
  passport.registerUserSerializer(async (user: User) => user.id)
  passport.registerUserDeserializer(async (id: string) => byId(id))

  const store = { type: 'custom', backend }
  const app = await startApp(t, { load: 'eager', regenerate: 'clear', store, ...session }, async app => {
    await app.register(passport.initialize())
    await app.register(passport.secureSession())
    addRoutes(app)
    app.post('/login', {
      preValidation: passport.authenticate('local', {
        successReturnToOrRedirect: '/', failureRedirect: '/login', failureFlash: 'wrong password', keepSessionInfo
      })
    }, async () => 'not reached')
  })

  const client = createClient(app)
  return {
    app,
    client,
    backend,
    get: async (url: string) => (await client.inject(url)).json(),
    post: (url: string) => client.inject({ method: 'POST', url }),
    login: (username: string, password = 'right') => {
      return client.inject({ method: 'POST', url: '/login', payload: { username, password } })
    },
    replay: async (cookie: string) => (await app.inject({ url: '/', headers: { cookie } })).json()
  }
}

function addRoutes (app: FastifyInstance): void {
  app.get('/', async ({ user = null }) => ({ user }))
  app.get('/login', async (_request, reply) => ({ errors: reply.flash('error') }))
  app.get('/data', async request => request.session.data())
  app.get('/private', async (request, reply) => {
    if (request.isAuthenticated()) return { secret: 42 }
    request.session.set('returnTo', '/private')
    return reply.redirect('/login')
  })
  app.post('/cart', async request => { request.session.set('cart', ['apple']) })
  app.post('/logout', async request => { await request.logOut() })
}

test('@fastify/passport: login, later requests, logout', async t => {
  const { client, get, post, login, replay } = await start(t)
  t.same(await get('/'), { user: null })
  const response = await login('ada')
  t.equal(response.statusCode, 302)
  t.equal(response.headers.location, '/')
  t.same(await get('/'), { user: users.ada })
  t.same(await get('/private'), { secret: 42 })

  const cookie = await client.cookies()
  await post('/logout')
  t.same(await get('/'), { user: null })
  t.same(await replay(cookie), { user: null }, 'the old id is dead')
})

test('@fastify/passport: the session has a new id after login and after logout', async t => {
  const { client, post, login, replay, backend } = await start(t)
  await post('/cart')
  const planted = await client.cookies()
  await login('ada')
  const own = await client.cookies()
  t.not(own, planted)
  t.same(await replay(planted), { user: null }, 'who planted the id has nothing')
  t.same(await replay(own), { user: users.ada })
  t.equal(await backend.count!(), 1)
  await post('/logout')
  t.not(await client.cookies(), own)
  t.same(await replay(own), { user: null })
})

test('@fastify/passport: a failed login stores its message only, and the id stays', async t => {
  const { client, get, post, login } = await start(t)
  t.equal((await login('ada', 'wrong')).headers.location, '/login')
  t.same(await get('/data'), { flash: { error: ['wrong password'] } })
  t.same(await get('/login'), { errors: ['wrong password'] })
  t.equal(await client.cookies(), '', 'and no session is left when it was read')
  await post('/cart')
  const before = await client.cookies()
  await login('ada', 'wrong')
  t.equal(await client.cookies(), before)
  t.same(await get('/'), { user: null })
})

test('@fastify/passport: keepSessionInfo and clearSessionOnLogin', async t => {
  const rows: Array<[Start, string[]]> = [
    [{}, []],
    [{ keepSessionInfo: true }, ['cart']],
    [{ passport: { clearSessionOnLogin: false } }, ['cart']],
    [{ passport: { clearSessionIgnoreFields: ['cart'] } }, ['cart']]
  ]
  for (const [options, kept] of rows) {
    for (const regenerate of ['keep', 'clear'] as const) {
      const { client, get, post, login } = await start(t, { ...options, session: { regenerate } })
      await post('/cart')
      const before = await client.cookies()
      await login('ada')
      t.not(await client.cookies(), before)
      t.same(Object.keys(await get('/data')).sort(), [...kept, 'passport'], JSON.stringify({ options, regenerate }))
    }
  }
})

test('@fastify/passport: logout clears the session, unless clearSessionOnLogin is false', async t => {
  const rows: Array<[Start, object]> = [
    [{}, {}],
    [{ passport: { clearSessionOnLogin: false } }, { cart: ['apple'] }],
    [{ session: { regenerate: 'keep' } }, { cart: ['apple'] }]
  ]
  for (const [options, left] of rows) {
    const { get, post, login } = await start(t, options)
    await login('ada')
    await post('/cart')
    await post('/logout')
    t.same(await get('/data'), left)
  }
})

test('@fastify/passport: a user logs in after another, and inherits nothing', async t => {
  const { client, get, post, login, replay } = await start(t)
  await login('ada')
  await post('/cart')
  const hers = await client.cookies()
  await login('bob')
  t.same(await get('/data'), { passport: 'u2' })
  t.same(await replay(hers), { user: null })
})

test('@fastify/passport: a user who is no more is logged out', async t => {
  const { client, get, login } = await start(t)
  await login('ada')
  const before = await client.cookies()
  const { ada } = users
  delete users.ada
  t.teardown(() => { users.ada = ada })
  t.same(await get('/'), { user: null })
  t.not(await client.cookies(), before)
  t.same(await get('/data'), {})
})

test('@fastify/passport: where the visitor wanted to go survives with keepSessionInfo', async t => {
  const { client, login } = await start(t, { keepSessionInfo: true })
  t.equal((await client.inject('/private')).headers.location, '/login')
  t.equal((await login('ada')).headers.location, '/private')
})

test('@fastify/passport: the user index knows who logged in when the application says so', async t => {
  const passport = new Authenticator()
  passport.use(new LocalStrategy((name, _password, done) => done(null, users[name])))
  passport.registerUserSerializer(async (user: User) => user.id)
  passport.registerUserDeserializer(async (id: string) => byId(id))
  const app = await startApp(t, { load: 'eager', regenerate: 'clear' }, async app => {
    await app.register(passport.initialize())
    await app.register(passport.secureSession())
    app.post('/login', { preValidation: passport.authenticate('local') }, async request => {
      await request.session.login((request.user as User).id)
    })
    app.get('/', async ({ user, session }) => ({ user, principal: session.principal }))
    app.post('/logout', async request => {
      await request.logOut()
      await request.session.logout()
    })
  })
  const client = createClient(app)
  const payload = { username: 'ada', password: 'any' }
  await client.inject({ method: 'POST', url: '/login', payload })
  t.same((await client.inject('/')).json(), { user: users.ada, principal: 'u1' })
  await client.inject({ method: 'POST', url: '/logout' })
  t.same((await client.inject('/')).json(), { user: null, principal: null })
  t.equal(await client.cookies(), '')
})
