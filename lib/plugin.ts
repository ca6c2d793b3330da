import type {
  FastifyContextConfig, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest,
  HookHandlerDoneFunction, RouteOptions
} from 'fastify'
import fp from 'fastify-plugin'
import type { Session } from '../types/session.js'
import type { Sessions, UserSessions } from '../types/users.js'
import type { RouteSettings } from './config/route-config.js'
import type { Browser, OutsideSession } from './cookie/outside.js'
import type { HostedSession, OpenedPart } from './hosted-session.js'
import type { Part } from './session/group.js'
import type { RequestSession } from './session/request-session.js'
import type { SessionState } from './session/session.js'
import type { Connections, StoreTable } from './store-host.js'
import { noSuchSession } from './base/options.js'
import { routeSettings } from './config/route-config.js'
import { checkSessions } from './config/session-parts.js'
import { varyByCookie } from './cookie/exchange.js'
import { kOutside, OutsideAnswer } from './cookie/outside.js'
import { assertTargetsHaveIds, hostSession } from './hosted-session.js'
import { SessionGroup } from './session/group.js'
import { sessionProxy } from './session/proxy.js'

const kReply = Symbol('fastify-sessions.reply')
const kOpened = Symbol('fastify-sessions.opened')
const kRoute = Symbol('fastify-sessions.route')
const kSettings = Symbol('fastify-sessions.settings')

interface Opened {
  readonly parts: readonly OpenedPart[]
  /** One of the parts, or all as one. */
  readonly state: RequestSession
  readonly session: Session
  /** The response waits for the last commit. */
  isCommitting: boolean
}

type RouteConfig = FastifyContextConfig & { [kSettings]?: RouteSettings }

interface SessionRequest extends FastifyRequest {
  [kReply]: FastifyReply | null
  /** Those of its route: Fastify makes the route's options anew whenever they are asked for. */
  [kRoute]: RouteSettings | null
  [kOpened]: Opened | null
}

/** The session plugin, with the stores that can be named by data. */
export function createSessionPlugin<Options extends object> (
  stores: StoreTable
): FastifyPluginAsync<Options> {
  async function sessions (fastify: FastifyInstance, received: Options): Promise<void> {
    const { parts, ownerOf } = checkSessions(received)
    const isSingle = parts.length === 1
    const connections: Connections = new Map()
    const hosted: HostedSession[] = []
    for (const part of parts) {
      hosted.push(await hostSession(fastify, part, isSingle ? null : ownerOf, stores, connections))
    }
    assertTargetsHaveIds(hosted)
    const isBound = ({ bindTo }: HostedSession) => bindTo !== undefined
    const targetsFirst = [...hosted.filter(part => !isBound(part)), ...hosted.filter(isBound)]
    const defaults = routeSettings(undefined, 'a route')

    fastify.decorate('sessions', userSessions())
    fastify.decorate(kOutside, openOutside)
    fastify.decorateRequest(kReply, null)
    fastify.decorateRequest(kRoute, null)
    fastify.decorateRequest(kOpened, null)
    fastify.decorateRequest('session', { getter: getSession } as never)
    fastify.addHook('onRoute', checkRoute)
    fastify.addHook('onRequest', openSession)
    fastify.addHook('onSend', commitSession)

    function getSession (this: SessionRequest): Session {
      this[kOpened] ??= open(this)
      return this[kOpened].session
    }

    function open (request: SessionRequest): Opened {
      const route = routeOf(request)
      const parts = openParts((part, target) => part.open(request, request[kReply], route, target))
      const state = united(parts)
      return { parts, state, session: sessionProxy(state), isCommitting: false }
    }

    function united (parts: readonly Part[]): RequestSession {
      return isSingle ? parts[0].state : new SessionGroup(parts, ownerOf)
    }

    function openParts<P extends Part> (open: (part: HostedSession, target: SessionState | null) => P): P[] {
      if (isSingle) return [open(hosted[0], null)]
      const opened = new Map<string, P>()
      for (const part of targetsFirst) {
        const target = part.bindTo === undefined ? null : opened.get(part.bindTo)!.state
        opened.set(part.name, open(part, target))
      }
      return hosted.map(({ name }) => opened.get(name)!)
    }

    function userSessions (): Sessions {
      return {
        ...usersOf(ownerOf('principal')!),
        part: usersOf,
        async fromCookie (header) {
          const state = united(openParts((part, target) => part.openDetached(header, target)))
          await state.load()
          return sessionProxy(state)
        }
      }
    }

    function openOutside (browser: Browser): OutsideSession {
      const answer = new OutsideAnswer()
      const state = united(openParts((part, target) => part.openOutside(browser, answer, target)))
      return {
        session: sessionProxy(state),
        setCookies: () => [answer.getHeader('set-cookie') ?? []].flat(),
        async commit () {
          state.close()
          await state.commit()
        }
      }
    }

    function usersOf (name: string): UserSessions {
      const part = hosted.find(part => part.name === name)
      if (part === undefined) throw noSuchSession(name)
      return part.users
    }

    /** With `reply.callNotFound()` a request leaves its route for the handler of what is not found. */
    function routeOf (request: SessionRequest): RouteSettings {
      if (request.is404) return settingsOf(request.routeOptions.config, request.url)
      return (request[kRoute] ??= settingsOf(request.routeOptions.config, request.url))
    }

    function settingsOf (config: RouteConfig, url: string): RouteSettings {
      if (config.session === undefined) return defaults
      return (config[kSettings] ??= routeSettings(config.session, url))
    }

    function checkRoute ({ config, method, url }: RouteOptions): void {
      routeSettings(config?.session, `${method} ${url}`)
    }

    /** A hook that ran before ours may have used the session, or have replied in our place. */
    function meet (request: SessionRequest, reply: FastifyReply): void {
      request[kReply] = reply
      request[kOpened]?.parts.forEach(({ exchange }) => exchange.meet(reply))
    }

    function openSession (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
      const opening = request as SessionRequest
      meet(opening, reply)
      const route = routeOf(opening)
      if (!hosted.some(part => part.isEager(route))) return done()
      const { parts } = (opening[kOpened] ??= open(opening))
      const waiting = parts.filter(({ isEager, state }) => isEager && !state.isLoaded)
      if (waiting.length === 0) return done()
      loadEagerly(waiting).then(() => done(), done)
    }

    /** Of several sessions, one whose store fails is an error only for those who use its fields. */
    async function loadEagerly (parts: readonly OpenedPart[]): Promise<void> {
      if (isSingle) await parts[0].state.load()
      else await Promise.allSettled(parts.map(({ state }) => state.load()))
    }

    function commitSession (
      request: FastifyRequest, reply: FastifyReply, _payload: unknown, done: HookHandlerDoneFunction
    ): void {
      const closing = request as SessionRequest
      const opened = closing[kOpened]
      // Sent twice, as by an async handler that does not return its reply: the first response is the one.
      if (opened?.isCommitting) return
      if (opened === null || !opened.state.isUsed || opened.state.isClosed) return done()
      if (opened.parts.every(({ isAbsent }) => isAbsent)) return done()
      meet(closing, reply)
      varyByCookie(reply)
      opened.state.close()
      const failed = reply.statusCode >= 500
      if (opened.state.isIdle(failed)) return done()
      opened.isCommitting = true
      const finish = (error?: Error) => {
        opened.isCommitting = false
        done(error)
      }
      opened.state.commit(failed).then(() => finish(), finish)
    }
  }

  return fp(sessions as FastifyPluginAsync, {
    fastify: '5.x',
    name: 'fastify-sessions',
    dependencies: ['@fastify/cookie']
  }) as unknown as FastifyPluginAsync<Options>
}
