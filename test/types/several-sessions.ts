// Compiled by `npm run types`, never run: what the types of several sessions must and must not accept.
import type { FastifyInstance } from 'fastify'
import type { Session } from 'fastify-sessions'
import sessions, { defineSessions } from 'fastify-sessions'

export async function register (app: FastifyInstance): Promise<void> {
  await app.register(sessions, {
    secret: 'x'.repeat(32),
    sessions: defineSessions({
      csrf: { store: { type: 'memory' }, fields: ['token', 'nonce'], cookie: { sameSite: 'strict' } },
      auth: { fields: { include: ['user', 'token'], exclude: ['token'] }, idleTimeout: 60 },
      rest: { fields: 'rest', bindTo: 'auth' }
    })
  })
  await app.register(sessions, { sessions: { a: { fields: '*' } } })
  // @ts-expect-error 'token' has two owners
  defineSessions({ csrf: { fields: ['token'] }, auth: { fields: ['user', 'token'] } })
  // @ts-expect-error the same with an include list
  defineSessions({ csrf: { fields: ['token'] }, auth: { fields: { include: ['token'] } }, rest: {} })
  // @ts-expect-error no session has this name
  defineSessions({ auth: { fields: ['user'] }, rest: { bindTo: 'outh' } })
  // @ts-expect-error a session is not bound to itself
  defineSessions({ auth: { fields: ['user'] }, rest: { bindTo: 'rest' } })
  // @ts-expect-error neither an unknown option
  defineSessions({ auth: { fields: ['user'], idelTimeout: 1 }, rest: {} })
}

export async function handler ({ session }: { session: Session }): Promise<Session> {
  await session.load(['token'])
  // @ts-expect-error a list of names
  await session.load('token')
  return session.part('auth')
}
