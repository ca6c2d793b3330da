import type { FastifyRequest } from 'fastify'
import Fastify from 'fastify'
import cookie from '@fastify/cookie'
import fp from 'fastify-plugin'
import { test } from 'tap'
import type { SessionData } from '../../lib/index.js'
import sessions from '../../lib/index.js'
import { createClient } from '../../lib/testing/client.js'
import { startApp } from '../helpers/app.js'

test('P1 a plugin may ask for request.session when it is registered, and finds it on every request', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(cookie)
  app.register(sessions, { load: 'eager' })
  const seen: string[] = []
  app.register(fp(async app => {
    app.addHook('onRequest', async ({ url, session }) => { if (session) seen.push(url) })
  }, { decorators: { request: ['session'] } }))
  app.get('/out', { config: { session: false } }, async ({ session }) => session.get('user') ?? 'nobody')
  app.get('/in', async ({ session }) => session.get('user') ?? 'nobody')
  for (const url of ['/in', '/out', '/missing']) await app.inject(url)
  t.same(seen, ['/in', '/out', '/missing'])
})

test('P2 P3 P4 an eager session is read and written like an object that holds the data and nothing else', async t => {
  const app = await startApp(t, { load: 'eager' }, app => {
    app.post('/', async ({ session }) => {
      session.set('_csrf', 'secret')
      session.basket = ['apple']
      session.set('gone', 1)
      session.set('gone', undefined)
    })
    app.get('/', async ({ session }) => {
      const data: Partial<SessionData> = session.data()
      data.basket!.push('only in the copy')
      return {
        get: session.get('basket'),
        property: session.basket,
        in: ['basket' in session, 'gone' in session, 'load' in session],
        keys: Object.keys(session),
        spread: { ...session },
        json: JSON.parse(JSON.stringify(session))
      }
    })
  })
  const client = createClient(app)
  await client.inject({ method: 'POST', url: '/' })
  const all = { _csrf: 'secret', basket: ['apple'] }
  t.same((await client.inject('/')).json(), {
    get: ['apple'],
    property: ['apple'],
    in: [true, false, false],
    keys: ['_csrf', 'basket'],
    spread: all,
    json: all
  })
})

test('P8 what is written in onRequest or preValidation is kept, whatever the answer below 500 is', async t => {
  const app = await startApp(t, { load: 'eager' }, app => {
    for (const hook of ['onRequest', 'preValidation'] as const) {
      app.get<{ Params: { status: number } }>(`/${hook}/:status`, {
        [hook]: async ({ session }: FastifyRequest) => { session.set(hook, 1) }
      }, async ({ params }, reply) => {
        if (Number(params.status) === 302) return reply.redirect('/')
        throw Object.assign(new Error('refused'), { statusCode: Number(params.status) })
      })
    }
    app.get('/', async ({ session }) => session.data())
  })
  for (const hook of ['onRequest', 'preValidation']) {
    const written = { [hook]: 1 }
    for (const [status, kept] of [[302, written], [403, written], [404, written], [500, {}]] as const) {
      const client = createClient(app)
      t.equal((await client.inject(`/${hook}/${status}`)).statusCode, status)
      t.same((await client.inject('/')).json(), kept, `${hook}, ${status}`)
    }
  }
})
