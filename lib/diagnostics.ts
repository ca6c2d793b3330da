import { channel } from 'node:diagnostics_channel'

/**
 * What happens to sessions, for those who watch. Each event is published on the `node:diagnostics_channel`
 * named
 * `fastify-sessions:<event>`. Messages carry hashes and reasons; never an id, a secret or session data.
 */
export type SessionEvent =
  /** A session was stored for the first time. */
  | 'created'
  /** A session got a new id. */
  | 'rotated'
  /** A session was removed by `destroy()`, `logout()`, or by removing its last key. */
  | 'destroyed'
  /** A presented cookie is no session; `reason` is malformed, signature, unknown, expired or bound. */
  | 'rejected'
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
  /** SHA-256 of the id, or of what was presented as one. */
  hash?: string | null
  reason?: string
}

const channels = new Map<SessionEvent, ReturnType<typeof channel>>()

export function publish (event: SessionEvent, message: SessionMessage): void {
  let target = channels.get(event)
  if (target === undefined) channels.set(event, target = channel(`fastify-sessions:${event}`))
  if (target.hasSubscribers) target.publish(message)
}
