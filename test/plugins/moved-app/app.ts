// An application written for @fastify/session, left as it was: its session plugin is registered by before.ts
// or by after.ts.
import type { FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import csrf from '@fastify/csrf-protection'
import Fastify from 'fastify'

declare module 'fastify-sessions' {
  interface SessionData {
    member: { name: string, visits: number }
    basket: string[]
    notes: { last?: string, all: string[] }
  }
}

type Login = FastifyRequest<{ Body: { name: string } }>

export async function buildApp (
  registerSession: (app: FastifyInstance) => Promise<void>
): Promise<FastifyInstance> {
  const app = Fastify()
  await registerSession(app)
  await app.register(csrf, { sessionPlugin: '@fastify/session' })

  function mustBeUser (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
    if ('member' in request.session) done()
    else reply.code(401).send({ error: 'log in first' })
  }

  app.get('/', async ({ session }) => ({ user: session.member?.name ?? null, basket: session.basket ?? [] }))

  app.post<{ Body: { item: string } }>('/basket', async ({ session, body }) => {
    session.basket = [...session.basket ?? [], body.item]
    return session.basket
  })

  app.post('/login', (request: Login, reply) => {
    request.session.regenerate(['basket'], error => {
      if (error) return reply.send(error)
      request.session.member = { name: request.body.name, visits: 0 }
      request.session.save(error => {
        if (error) reply.send(error)
        else reply.redirect('/')
      })
    })
  })

  app.post('/visit', { preHandler: mustBeUser }, async ({ session }) => ++session.member!.visits)

  app.post<{ Body: { text: string } }>('/note', { preHandler: mustBeUser }, async ({ session, body }) => {
    const notes = session.get('notes') ?? { all: [] }
    notes.all.push(body.text)
    notes.last = body.text
    session.set('notes', notes)
    return session.isModified()
  })
  app.delete('/note', { preHandler: mustBeUser }, async ({ session }) => {
    delete session.notes!.last
    return session.notes
  })
  app.get('/note', { preHandler: mustBeUser }, async ({ session }) => session.notes ?? null)
  app.delete('/notes', { preHandler: mustBeUser }, async ({ session }) => { delete session.notes })

  app.post('/forget', async request => {
    await request.session.regenerate()
    return Object.keys(request.session).filter(key => key !== 'cookie')
  })

  app.post('/draft', async request => {
    request.session.basket = ['draft']
    await request.session.reload()
    request.session.touch()
    return request.session.basket ?? null
  })

  app.post('/logout', (request, reply) => {
    request.session.destroy(error => {
      if (error) reply.send(error)
      else reply.redirect('/')
    })
  })
  app.post('/leave', {
    preHandler: (request, _reply, done) => { request.session.destroy(done) }
  }, async () => 'bye')

  app.get('/form', async (_request, reply) => reply.generateCsrf())
  app.post('/transfer', { preHandler: app.csrfProtection }, async () => 'done')
  return app
}
