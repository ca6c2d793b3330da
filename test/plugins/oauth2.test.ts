import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import oauth2 from '@fastify/oauth2'
import type { OAuth2Namespace } from '@fastify/oauth2'
import { test } from 'tap'
import { createClient } from '../../lib/testing/client.js'
import { startApp } from '../helpers/app.js'
import { startFakeProvider, visitProvider } from './fake-provider.js'

type Options = Parameters<typeof oauth2>[1]
type Check = (this: FastifyInstance, request: FastifyRequest) => boolean

/** The state in the session: bound to the browser that began, and good for one use. */
const inSession: Partial<Options> = {
  generateStateFunction (request: FastifyRequest) {
    const state = randomBytes(16).toString('base64url')
    request.session.set('oauth2State', state)
    return state
  },
  checkStateFunction: ((request: FastifyRequest<{ Querystring: { state?: string } }>) => {
    const expected = request.session.get('oauth2State')
    request.session.delete('oauth2State')
    return expected !== undefined && request.query.state === expected
  }) as Check
}

async function start (t: Parameters<typeof startApp>[0], options: Partial<Options>) {
  const { origin } = await startFakeProvider(t)
  const app = await startApp(t, { load: 'eager' }, async app => {
    await app.register(oauth2, {
      name: 'fake',
      credentials: {
        client: { id: 'us', secret: 'between us' },
        auth: { authorizeHost: origin, authorizePath: '/authorize', tokenHost: origin, tokenPath: '/token' }
      },
      startRedirectPath: '/login',
      callbackUri: 'http://localhost/callback',
      ...options
    })
    const { fake } = app as unknown as { fake: OAuth2Namespace }
    app.get('/callback', async (request, reply) => {
      await fake.getAccessTokenFromAuthorizationCodeFlow(request, reply)
      await request.session.login('ada')
      return reply.redirect('/')
    })
    app.get('/', async ({ session }) => ({ principal: session.principal, data: session.data() }))
  })
  const client = createClient(app)
  return { app, client, about: async () => (await client.inject('/')).json() }
}

for (const [where, options] of [
  ['in its cookie', {}], ['in its cookie, with PKCE', { pkce: 'S256' }], ['in the session', inSession]
] as Array<[string, Partial<Options>]>) {
  test(`@fastify/oauth2, the state ${where}: a login`, async t => {
    const { client, about } = await start(t, options)
    const callback = await visitProvider((await client.inject('/login')).headers.location)
    const before = await client.cookies()
    const response = await client.inject(callback)
    t.equal(response.headers.location, '/')
    t.not(await client.cookies(), before)
    t.same(await about(), { principal: 'ada', data: {} })
  })

  test(`@fastify/oauth2, the state ${where}: a callback for another browser is refused`, async t => {
    const { app, client, about } = await start(t, options)
    const callback = await visitProvider((await client.inject('/login')).headers.location)
    const other = createClient(app)
    t.match((await other.inject(callback)).json(), { statusCode: 500, message: 'Invalid state' })
    t.equal(await other.cookies('/'), '')
    await other.inject('/login')
    t.match((await other.inject(callback)).json(), { message: 'Invalid state' })
    t.equal((await other.inject('/')).json().principal, null)

    t.match((await client.inject(callback)).headers, { location: '/' })
    t.match(await about(), { principal: 'ada' })
    t.equal((await client.inject(callback)).statusCode, 500, 'nor is it good twice')
  })
}
