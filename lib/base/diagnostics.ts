import { channel, tracingChannel } from 'node:diagnostics_channel'
import type { StoreLog } from '../define-store.js'

/**
 * What happens to sessions, for those who watch. Each event is published on the `node:diagnostics_channel`
 * named `fastify-sessions:<event>`, and told to the log: `corrupt` and `failure` as a warning, the others at
 * level debug. Both carry hashes and reasons; never an id, a secret or session data.
 */
export type SessionEvent =
  /** A session was stored for the first time. */
  | 'created'
  /** A session got a new id, or its cookie another value (`reason` renewal). */
  | 'rotated'
  /** A session was removed: by its request, by `app.sessions`, or to make room for a login. */
  | 'destroyed'
  /** A presented cookie is no session; `reason` is a `RejectReason`. */
  | 'rejected'
  /** A presented session has ended; told as `rejected` too. */
  | 'expired'
  /** A stored record cannot be decoded. */
  | 'corrupt'
  /** Another request wrote the session in between; this one reads it again and retries. */
  | 'conflict'
  /** The session was destroyed or rotated while the request ran; its changes are dropped. */
  | 'gone'
  /** The store failed or did not answer in time. */
  | 'failure'

export interface SessionMessage {
  /** The name of the session. */
  session: string
  /** SHA-256 of the id, or of what was presented as one; null where there is none or there are several. */
  hash?: string | null
  reason?: string
}

/** The part of a logger that is told of events: that of the request where there is one. */
export type EventLog = Pick<StoreLog, 'debug' | 'warn'>

const events = {
  created: told('debug', 'session created'),
  rotated: told('debug', 'session rotated'),
  destroyed: told('debug', 'session destroyed'),
  rejected: told('debug', 'session cookie rejected'),
  expired: told('debug', 'session expired'),
  corrupt: told('warn', 'session corrupt'),
  conflict: told('debug', 'session conflict'),
  gone: told('debug', 'session gone'),
  failure: told('warn', 'session store failed')
} satisfies Record<SessionEvent, unknown>

function told (level: keyof EventLog, text: string) {
  return { level, text }
}

const channels = new Map<SessionEvent, ReturnType<typeof channel>>()

export function publish (event: SessionEvent, message: SessionMessage, log: EventLog): void {
  const { level, text } = events[event]
  log[level](message, text)
  let target = channels.get(event)
  if (target === undefined) channels.set(event, target = channel(`fastify-sessions:${event}`))
  if (target.hasSubscribers) target.publish(message)
}

/** Why the browser was not told of a session, or of its end. */
export type UnsetReason = 'gone' | 'headers sent' | 'plain http'

export function explainUnset (session: string, reason: UnsetReason, log: EventLog): void {
  log.debug({ session, reason }, 'session cookie not set')
}

/** What takes time, for those who measure: a `TracingChannel` each, named `fastify-sessions:<operation>`. */
export type SessionOperation =
  /** The store is read. */
  | 'load'
  /** A session is written: stored, changed, touched, or given a new id. */
  | 'commit'
  /** A session is removed because `destroy()` or `logout()` was called. */
  | 'destroy'

/** The context that the channels of an operation share. `error` and `result` are set by Node. */
export interface SessionTrace extends SessionMessage {
  /** Of a load: whether a session was found. Of a commit: create, update, touch or rotate. */
  outcome?: string
}

const operations = {
  load: tracingChannel<unknown, SessionTrace>('fastify-sessions:load'),
  commit: tracingChannel<unknown, SessionTrace>('fastify-sessions:commit'),
  destroy: tracingChannel<unknown, SessionTrace>('fastify-sessions:destroy')
}

/** Whether anybody wants to know how long it takes. */
export function isWatched (operation: SessionOperation): boolean {
  const { start, end, asyncStart, asyncEnd, error } = operations[operation]
  return start.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers || asyncEnd.hasSubscribers ||
    error.hasSubscribers
}

/** Does the work while those watch who have subscribed. */
export function traced (
  operation: SessionOperation, trace: SessionTrace, work: () => Promise<void>
): Promise<void> {
  return operations[operation].tracePromise(work, trace)
}
