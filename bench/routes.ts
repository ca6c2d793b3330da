import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

export const routeNames = ['plain', 'read', 'write', 'new'] as const
export type RouteName = typeof routeNames[number]

export type Answer = { ok: true } | { name: string } | { count: number }
type Handler = (request: FastifyRequest, reply: FastifyReply) => Answer | Promise<Answer>

/** What a contestant does with its session. */
export interface Uses {
  /** Looks at one field of one object. */
  read: Handler
  /** Adds one to a number. */
  write: Handler
  /** Fills a session with `visit()`. */
  new: Handler
}

/** The session is there and the browser has its cookie, but the route needs neither. */
export function plain (): Answer {
  return { ok: true }
}

export function addRoutes (app: FastifyInstance, uses?: Uses): FastifyInstance {
  app.get('/plain', async () => plain())
  if (uses === undefined) return app
  app.get('/read', async (request, reply) => uses.read(request, reply))
  app.get('/write', async (request, reply) => uses.write(request, reply))
  app.get('/new', async (request, reply) => uses.new(request, reply))
  return app
}
