import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Session, SessionOptions } from '../../lib/index.js'
import { setTimeout as sleep } from 'node:timers/promises'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import sessions from '../../lib/index.js'

/** A store as data, to be handed to another process. */
export interface StoreData { type: string, [option: string]: unknown }

/** Requests of one browser, sent at once. */
export interface Task { paths: string[], cookie: string }
export interface Answer { status: number, cookies: string[] }

/** The application that several processes run on one store. */
export async function openWorkerApp (
  store: StoreData, options: SessionOptions = {}
): Promise<FastifyInstance> {
  // Four at once import their driver: on a busy machine that takes longer than Fastify waits.
  const app = Fastify({ pluginTimeout: 60_000 })
  await app.register(cookie)
  await app.register(sessions, { store, storeTimeout: 30, ...options })

  app.get('/', async request => {
    const session = await request.session.load()
    return { data: session.data(), principal: session.principal }
  })
  change('/set/:key', (session, { params }) => session.set((params as { key: string }).key, 1))
  change('/count', session => session.update('count', n => Number(n ?? 0) + 1))
  change('/clear', session => session.clear())
  change('/touch', session => session.touch())
  change('/login', session => session.login('ada'))
  change('/logout', session => session.logout())

  /** A request that comes when its session is gone would begin one of its own. */
  function change (path: string, act: (session: Session, request: FastifyRequest) => unknown) {
    app.get(path, async request => {
      const session = await request.session.load()
      await sleep(Math.random() * 5)
      if (!session.isNew || !request.headers.cookie) await act(session, request)
      return {}
    })
  }
  await answers(app)
  return app
}

/** The first calls of a driver may take seconds on a busy machine; none of the stories is about that. */
async function answers (app: FastifyInstance) {
  for (let tries = 0; tries < 10; tries++) {
    const { statusCode, headers } = await app.inject('/set/first')
    const [cookie] = String(headers['set-cookie']).split(';')
    if (statusCode === 200 && (await app.inject({ url: '/count', headers: { cookie } })).statusCode === 200) return
  }
  throw new Error('the store does not answer')
}
