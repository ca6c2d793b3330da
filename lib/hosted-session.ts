import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { UserSessions } from '../types/users.js'
import type { RouteSettings } from './config/route-config.js'
import type { PartSettings } from './config/session-parts.js'
import type { Answer } from './cookie/exchange.js'
import type { Browser } from './cookie/outside.js'
import type { SessionSettings } from './session/commit.js'
import type { OwnerOf } from './session/fields.js'
import type { Part } from './session/group.js'
import type { Connections, StoreTable } from './store-host.js'
import { inTurn } from './base/turns.js'
import { DetachedExchange, HttpExchange, SessionCookie } from './cookie/exchange.js'
import { OutsideExchange, requestOf } from './cookie/outside.js'
import { DisabledError, OptionError, ReadOnlyError } from './errors.js'
import { onlyFields } from './session/fields.js'
import { SessionState } from './session/session.js'
import { createUserLimit } from './session/user-limit.js'
import { createUserSessions } from './session/users.js'
import { hostStore } from './store-host.js'

/** What a request has of one configured session. */
export interface OpenedPart extends Part {
  readonly exchange: HttpExchange
  /** There is nothing to read or write, and the response does not depend on the cookie. */
  readonly isAbsent: boolean
  /** Loaded before the handlers. */
  readonly isEager: boolean
}

/** One configured session with its store: opens itself in requests. */
export interface HostedSession {
  readonly name: string
  readonly bindTo: string | undefined
  /** It lives in its cookie, and has no id that another could be bound to. */
  readonly isSealed: boolean
  isEager (route: RouteSettings): boolean
  /** @param target the session of the same request that this one is bound to */
  open (
    request: FastifyRequest, reply: FastifyReply | null, route: RouteSettings, target: SessionState | null
  ): OpenedPart
  /** Without a request, from a Cookie header. */
  openDetached (header: string | undefined, target: SessionState | null): Part
  /** Without a request, as in one that the browser sends to where the cookie belongs. */
  openOutside (browser: Browser, answer: Answer, target: SessionState | null): Part
  readonly users: UserSessions
}

/** @param ownerOf null for the only session, which owns all fields */
export async function hostSession (
  fastify: FastifyInstance, part: PartSettings, ownerOf: OwnerOf | null,
  table: StoreTable, connections: Connections
): Promise<HostedSession> {
  const { options, bindTo } = part
  const { name, clock, regenerate, rememberFor, storeTimeout, maxPerUser, onMaxPerUser } = options
  const cookie = new SessionCookie(options, part.label, fastify.serializeCookie, fastify.log)
  const codec = ownerOf === null ? options.codec : onlyFields(options.codec, field => ownerOf(field) === name)
  const hosted = await hostStore(fastify, { ...part, options: { ...options, codec } }, table, connections)
  const { store } = hosted
  const limit = maxPerUser === undefined
    ? undefined
    : createUserLimit(store.index!, { name, max: maxPerUser, whenFull: onMaxPerUser })
  const persistent = options.cookie.persistent || options.cookie.maxAge !== undefined
  const settings: SessionSettings = {
    name,
    store,
    clock,
    codec,
    timeouts: options,
    regenerate,
    onCorrupt: options.onCorrupt,
    rememberFor,
    storeTimeout,
    persistent,
    limit,
    contenders: inTurn(),
    log: fastify.log,
    commits: hosted.commits
  }

  function isEager ({ load = options.load }: RouteSettings): boolean {
    return load === 'eager'
  }

  function refusalFor ({ enabled, readOnly }: RouteSettings): (() => Error) | undefined {
    if (!enabled) return () => new DisabledError()
    if (store.refuse !== undefined) return store.refuse
    return readOnly ? () => new ReadOnlyError() : undefined
  }

  return {
    name,
    bindTo,
    isSealed: store.tokenIsRecord === true,
    isEager,
    open (request, reply, route, target) {
      const isAbsent = !route.enabled || store.refuse !== undefined
      const exchange = new HttpExchange(cookie, request, reply, refusalFor(route), isAbsent)
      const state = new SessionState(settings, exchange, target)
      const eager = isEager(route)
      if (eager || isAbsent) state.loadIfAnonymous()
      return { name, state, exchange, target, isAbsent, isEager: eager }
    },
    openDetached (header, target) {
      const tokens = store.refuse === undefined ? cookie.read(header) : []
      const exchange = new DetachedExchange(tokens, store.refuse, fastify.log)
      return { name, state: new SessionState(settings, exchange, target), exchange, target }
    },
    openOutside (browser, answer, target) {
      const request = requestOf(browser, options.cookie.path, fastify.log)
      const exchange = new OutsideExchange(cookie, request, answer, store.refuse, store.refuse !== undefined)
      return { name, state: new SessionState(settings, exchange, target), exchange, target }
    },
    users: createUserSessions(settings, hosted.type)
  }
}

/** @throws FST_SESSIONS_OPTION */
export function assertTargetsHaveIds (sessions: readonly HostedSession[]): void {
  for (const { name, bindTo } of sessions) {
    if (sessions.some(target => target.name === bindTo && target.isSealed)) {
      throw new OptionError(`session '${name}' option bindTo names '${bindTo}', which lives in its cookie and ` +
        'has no id to be bound to')
    }
  }
}
