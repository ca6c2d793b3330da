import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { Session } from '../types/session.js'
import type { Setup } from './contestant.js'
import type { Visit } from './data.js'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { pathToFileURL } from 'node:url'
import { SECRET } from './contestant.js'
import { visit } from './data.js'
import { addRoutes } from './routes.js'

interface Choices {
  load: 'lazy' | 'eager'
  signed: boolean
}

interface Built { default: FastifyPluginAsync<Record<string, unknown>> }

type Held = Session & Visit

/** The package as it was built, with the options that its README shows. */
export async function buildOurs ({ store, redisUrl, dist }: Setup, { load, signed }: Choices) {
  const { default: sessions }: Built = await import(pathToFileURL(`${dist}/lib/index.js`).href)
  const app = Fastify()
  await app.register(cookie)
  await app.register(sessions, {
    load,
    ...signed && { secret: SECRET },
    store: store === 'memory' ? { type: 'memory' } : { type: 'redis', url: redisUrl }
  })
  const held = (request: FastifyRequest) => (request as unknown as { session: Held }).session
  const open = load === 'eager' ? held : (request: FastifyRequest) => held(request).load() as Promise<Held>

  return addRoutes(app, {
    async read (request) {
      const session = await open(request)
      return { name: session.user.name }
    },
    async write (request) {
      const session = await open(request)
      session.count++
      return { count: session.count }
    },
    async new (request) {
      Object.assign(await open(request), visit())
      return { ok: true }
    }
  })
}
