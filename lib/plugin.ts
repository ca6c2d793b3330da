import type {
  FastifyContextConfig, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest,
  HookHandlerDoneFunction, RouteOptions
} from 'fastify'
import type { Session } from '../types/session.js'
import type { SessionSettings } from './commit.js'
import type { RouteSettings } from './route-config.js'
import type { StoreTable } from './store-host.js'
import fp from 'fastify-plugin'
import { DisabledError, ReadOnlyError } from './errors.js'
import { HttpExchange, SessionCookie, varyByCookie } from './exchange.js'
import { sessionProxy } from './proxy.js'
import { routeSettings } from './route-config.js'
import { checkSessionOptions } from './session-options.js'
import { SessionState } from './session.js'
import { hostStore } from './store-host.js'

const kReply = Symbol('fastify-sessions.reply')
const kOpened = Symbol('fastify-sessions.opened')
const kRoute = Symbol('fastify-sessions.route')

interface Opened {
  readonly exchange: HttpExchange
  readonly state: SessionState
  readonly session: Session
  /** There is nothing to read or write, and the response does not depend on the cookie. */
  readonly isAbsent: boolean
  /** The response waits for the last commit. */
  isCommitting: boolean
}

interface SessionRequest extends FastifyRequest {
  [kReply]: FastifyReply | null
  [kOpened]: Opened | null
}

/** The session plugin, with the stores that can be named by data. */
export function createSessionPlugin<Options extends object> (
  stores: StoreTable
): FastifyPluginAsync<Options> {
  async function sessions (fastify: FastifyInstance, received: Options): Promise<void> {
    const options = checkSessionOptions(received)
    const cookie = new SessionCookie(options, fastify.serializeCookie, fastify.log)
    const { store, track } = await hostStore(fastify, options, stores)
    const { name, clock, rememberFor, storeTimeout } = options
    const persistent = options.cookie.persistent || options.cookie.maxAge !== undefined
    const settings: SessionSettings = {
      name, store, clock, timeouts: options, rememberFor, storeTimeout, persistent, track
    }
    const defaults = routeSettings(undefined, options.load, 'a route')

    fastify.decorateRequest(kReply, null)
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
      const route = settingsOf(request)
      const refusal = refusalFor(route)
      const isAbsent = !route.enabled || store.refuse !== undefined
      const exchange = new HttpExchange(cookie, request, request[kReply], refusal, isAbsent)
      const state = new SessionState(settings, exchange)
      if (route.eager || isAbsent) state.loadIfAnonymous()
      return { exchange, state, session: sessionProxy(state), isAbsent, isCommitting: false }
    }

    function refusalFor ({ enabled, readOnly }: RouteSettings): (() => Error) | undefined {
      if (!enabled) return () => new DisabledError()
      if (store.refuse !== undefined) return store.refuse
      return readOnly ? () => new ReadOnlyError() : undefined
    }

    function settingsOf (request: FastifyRequest): RouteSettings {
      const config: FastifyContextConfig & { [kRoute]?: RouteSettings } = request.routeOptions.config
      if (config.session === undefined) return defaults
      return (config[kRoute] ??= routeSettings(config.session, options.load, request.url))
    }

    function checkRoute ({ config, method, url }: RouteOptions): void {
      routeSettings(config?.session, options.load, `${method} ${url}`)
    }

    /** A hook that ran before ours may have used the session, or have replied in our place. */
    function meet (request: SessionRequest, reply: FastifyReply): void {
      request[kReply] = reply
      request[kOpened]?.exchange.meet(reply)
    }

    function openSession (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void {
      const opening = request as SessionRequest
      meet(opening, reply)
      if (!settingsOf(request).eager) return done()
      const { state } = (opening[kOpened] ??= open(opening))
      if (state.isLoaded) return done()
      state.load().then(() => done(), done)
    }

    function commitSession (
      request: FastifyRequest, reply: FastifyReply, _payload: unknown, done: HookHandlerDoneFunction
    ): void {
      const closing = request as SessionRequest
      const opened = closing[kOpened]
      // Sent twice, as by an async handler that does not return its reply: the first response is the one.
      if (opened?.isCommitting) return
      if (opened === null || opened.isAbsent || !opened.state.isUsed || opened.state.isClosed) return done()
      meet(closing, reply)
      varyByCookie(reply)
      opened.state.close()
      opened.isCommitting = true
      const finish = (error?: Error) => {
        opened.isCommitting = false
        done(error)
      }
      opened.state.commit(reply.statusCode >= 500).then(() => finish(), finish)
    }
  }

  return fp(sessions as FastifyPluginAsync, {
    fastify: '5.x',
    name: 'fastify-sessions',
    dependencies: ['@fastify/cookie']
  }) as unknown as FastifyPluginAsync<Options>
}
