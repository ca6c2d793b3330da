import type { FastifyInstance, FastifyPluginCallback } from 'fastify'
import cookie from '@fastify/cookie'

// Not by name: its types declare a `request.session` of their own.
const plugin: string = '@fastify/session'
const { default: session }: { default: FastifyPluginCallback<Record<string, unknown>> } = await import(plugin)

export async function registerBefore (app: FastifyInstance, store?: object): Promise<void> {
  await app.register(cookie)
  await app.register(session, {
    secret: 'a secret of at least thirty-two characters',
    cookieName: 'sessionId',
    cookie: { secure: false, maxAge: 1_800_000, sameSite: 'lax' },
    saveUninitialized: false,
    store
  })
}
