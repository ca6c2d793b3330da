import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { SessionOptions } from '../../lib/index.js'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import sessions from '../../lib/index.js'

interface Teardown { teardown (fn: () => unknown): void }

/** An application with sessions, closed at the end of the test. */
export async function startApp (
  t: Teardown, options: SessionOptions, routes: (app: FastifyInstance) => unknown,
  server: FastifyServerOptions = {}
): Promise<FastifyInstance> {
  // On a busy machine the first import of a store takes longer than Fastify waits.
  const app = Fastify({ pluginTimeout: 60_000, ...server }) as FastifyInstance
  t.teardown(() => app.close())
  await app.register(cookie)
  await app.register(sessions, options)
  await routes(app)
  await app.ready()
  return app
}
