import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type {
  FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions, InjectOptions,
  LightMyRequestResponse as Response
} from 'fastify'
import type { Session, SessionEvent, SessionMessage, SessionOptions } from '../../lib/index.js'
import { startApp } from './app.js'

interface Teardown { teardown (fn: () => unknown): void }

/** What one request does with its session, which is loaded. */
export type Script = (session: Session, request: FastifyRequest, reply: FastifyReply) => unknown

export interface Stage {
  app: FastifyInstance
  /** One request with this Cookie header that does what `script` says. */
  visit (cookie: string, script: Script, request?: InjectOptions): Promise<Response>
}

/** An application whose requests do what the test says. */
export async function startStage (
  t: Teardown, options: SessionOptions, server?: FastifyServerOptions
): Promise<Stage> {
  const scripts: Script[] = []
  const app = await startApp(t, options, app => {
    app.post<{ Params: { script: number } }>('/:script', async (request, reply) => {
      const session = await request.session.load()
      return scripts[request.params.script](session, request, reply)
    })
  }, server)
  return {
    app,
    async visit (cookie, script, { headers, ...request } = {}) {
      const url = `/${scripts.push(script) - 1}`
      const carried = { ...headers, ...cookie && { cookie } }
      return app.inject({ method: 'POST', url, headers: carried, ...request })
    }
  }
}

/** The Set-Cookie lines of a response. */
export function setCookies (response: Response): string[] {
  return [response.headers['set-cookie'] ?? []].flat()
}

/** The only cookie that a response sets, as a Cookie header carries it: name=value. */
export function cookieOf (response: Response): string {
  const lines = setCookies(response)
  if (lines.length !== 1) throw new Error(`${lines.length} cookies and status ${response.statusCode}`)
  return lines[0].split(';')[0]
}

interface Seen extends SessionMessage { event: SessionEvent }

/** Notes what is published, until the end of the test. */
export function watch (t: Teardown, ...events: SessionEvent[]): Seen[] {
  const seen: Seen[] = []
  for (const event of events) {
    const note = (message: unknown) => { seen.push({ event, ...message as SessionMessage }) }
    subscribe(`fastify-sessions:${event}`, note)
    t.teardown(() => unsubscribe(`fastify-sessions:${event}`, note))
  }
  return seen
}
