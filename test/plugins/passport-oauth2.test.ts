import { Authenticator } from '@fastify/passport'
import { Strategy as OAuth2Strategy } from 'passport-oauth2'
import type { StrategyOptions } from 'passport-oauth2'
import { test } from 'tap'
import { createClient } from '../../lib/testing/client.js'
import { startApp } from '../helpers/app.js'
import { startFakeProvider, visitProvider } from './fake-provider.js'

type Verified = (error: null, user: object) => void

function verify (token: string, _refreshToken: string, _profile: object, done: Verified): void {
  done(null, { token })
}

async function start (t: Parameters<typeof startApp>[0], options: Partial<StrategyOptions>) {
  const { origin } = await startFakeProvider(t)
  const passport = new Authenticator()
  passport.use('fake', new OAuth2Strategy({
    authorizationURL: `${origin}/authorize`,
    tokenURL: `${origin}/token`,
    clientID: 'us',
    clientSecret: 'between us',
    callbackURL: 'http://localhost/callback',
    ...options
  } as StrategyOptions, verify))
  passport.registerUserSerializer(async user => user)
  passport.registerUserDeserializer(async user => user)

  const app = await startApp(t, { load: 'eager', regenerate: 'clear' }, async app => {
    await app.register(passport.initialize())
    await app.register(passport.secureSession())
    app.get('/login', { preValidation: passport.authenticate('fake') }, async () => 'not reached')
    app.get('/callback', { preValidation: passport.authenticate('fake', { successRedirect: '/' }) }, async () => '')
    app.post('/leave-the-rest', async ({ session }) => {
      Object.assign(session.get('oauth2:127.0.0.1') as object, { rest: 1 })
    })
    app.get('/data', async ({ session }) => session.data())
    app.get('/', async ({ user = null }) => ({ user }))
  })
  const client = createClient(app)
  return { app, client, get: async (url: string) => (await client.inject(url)).json() }
}

for (const [title, options] of [
  ['state', { state: true }], ['state and PKCE', { state: true, pkce: true }], ['state of its store', { store: true }]
] as Array<[string, Partial<StrategyOptions>]>) {
  test(`passport-oauth2, ${title}: what is kept inside an object of the session is stored, and removed`, async t => {
    const { client, get } = await start(t, options)
    const callback = await visitProvider((await client.inject('/login')).headers.location)
    t.same(Object.keys((await get('/data'))['oauth2:127.0.0.1']), ['state'])
    const before = await client.cookies()
    t.equal((await client.inject(callback)).headers.location, '/')
    t.not(await client.cookies(), before)
    t.same(await get('/'), { user: { token: 'granted' } })
    t.same(await get('/data'), { passport: { token: 'granted' } })
    t.equal((await client.inject(callback)).statusCode, 403, 'a state is good once')
  })

  test(`passport-oauth2, ${title}: a nested delete is stored though the login fails`, async t => {
    const { client, get } = await start(t, options)
    const callback = await visitProvider((await client.inject('/login')).headers.location)
    await client.inject({ method: 'POST', url: '/leave-the-rest' })
    t.equal((await client.inject(callback.replace(/state=[^&]*/, 'state=forged'))).statusCode, 403)
    t.same(await get('/data'), { 'oauth2:127.0.0.1': { rest: 1 } })
    t.equal((await client.inject(callback)).statusCode, 403)
    t.same(await get('/'), { user: null })
  })

  test(`passport-oauth2, ${title}: a callback for another browser is refused`, async t => {
    const { app, client } = await start(t, options)
    const callback = await visitProvider((await client.inject('/login')).headers.location)
    const other = createClient(app)
    t.equal((await other.inject(callback)).statusCode, 403)
    t.equal(await other.cookies(), '')
  })
}
