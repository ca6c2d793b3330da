import type { FastifyInstance, FastifyReply, FastifyRequest, LightMyRequestResponse } from 'fastify'
import type { Session, SessionOptions } from '../../lib/index.js'
import type { Client } from '../../lib/testing/client.js'
import { createClient } from '../../lib/testing/client.js'
import { startApp } from './app.js'

type Work = (session: Session, request: FastifyRequest, reply: FastifyReply) => unknown

export interface Visits {
  /**
   * Runs `work` as the handler of a request of one and the same browser, with the session not loaded yet.
   * Rejects with what it throws.
   */
  (work: Work): Promise<LightMyRequestResponse>
  readonly app: FastifyInstance
  readonly client: Client
}

/** An application with one route, whose handler each visit brings along. */
export async function startVisits (
  t: { teardown (fn: () => unknown): void }, options: SessionOptions = {}
): Promise<Visits> {
  let current: Work
  let thrown: { error: unknown } | undefined
  const app = await startApp(t, options, app => {
    app.get('/', async (request, reply) => {
      try {
        return await current(request.session, request, reply) ?? 'done'
      } catch (error) {
        thrown = { error }
        throw error
      }
    })
  })
  const client = createClient(app)
  const visit = async (work: Work) => {
    current = work
    thrown = undefined
    const response = await client.inject('/')
    if (thrown !== undefined) throw (thrown as { error: unknown }).error
    return response
  }
  return Object.assign(visit, { app, client })
}
