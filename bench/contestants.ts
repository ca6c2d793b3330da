import type { Contestant } from './contestant.js'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { randomBytes } from 'node:crypto'
import { ATTRIBUTES, everyRoute, everyStore } from './contestant.js'
import { buildFloor } from './floor.js'
import { buildOurs } from './ours.js'
import { buildExpress, buildFastifySession, buildMgcrea, buildSecureSession } from './peers.js'
import { addRoutes, plain } from './routes.js'

export const COOKIE_ONLY = 'Fastify + @fastify/cookie'
export const FLOOR = 'by hand'

const ours: Contestant[] = (['lazy', 'eager'] as const).flatMap(load => [false, true].map(signed => ({
  name: `fastify-sessions, ${load}${signed ? ', signed' : ''}`,
  stores: everyStore,
  routes: everyRoute,
  build: setup => buildOurs(setup, { load, signed })
})))

/** In the order of the table. */
export const contestants: readonly Contestant[] = [
  {
    name: 'Fastify',
    stores: everyStore,
    routes: ['plain'],
    build: async () => addRoutes(Fastify())
  },
  {
    name: COOKIE_ONLY,
    stores: everyStore,
    routes: ['plain'],
    async build () {
      const app = Fastify()
      await app.register(cookie)
      app.get('/new', async (_request, reply) => {
        reply.setCookie('sid', randomBytes(32).toString('base64url'), ATTRIBUTES)
        return plain()
      })
      return addRoutes(app)
    }
  },
  { name: FLOOR, stores: everyStore, routes: everyRoute, build: buildFloor },
  ...ours,
  { name: '@fastify/session', stores: everyStore, routes: everyRoute, build: buildFastifySession },
  { name: '@mgcrea/fastify-session', stores: everyStore, routes: everyRoute, build: buildMgcrea },
  { name: '@fastify/secure-session', stores: ['memory'], routes: everyRoute, build: buildSecureSession },
  { name: 'express-session on Express', stores: everyStore, routes: everyRoute, build: buildExpress }
]
