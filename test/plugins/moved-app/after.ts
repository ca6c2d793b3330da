import type { FastifyInstance } from 'fastify'
import cookie from '@fastify/cookie'
import sessions from '../../../lib/index.js'

export async function registerAfter (app: FastifyInstance): Promise<void> {
  await app.register(cookie)
  await app.register(sessions, {
    secret: 'a secret of at least thirty-two characters',
    cookie: { name: 'sessionId', secure: false, maxAge: 1800 },
    load: 'eager',
    regenerate: 'clear'
  })
}
