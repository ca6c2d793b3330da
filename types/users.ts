import type { Session } from './session.js'
import type { Instant } from './store.js'

/** A session by itself, or by its handle: `session.id`, or `handle` in a list. */
export type SessionRef = Session | string

/** A session in the list of its user. */
export interface UserSession {
  /** Names the session and opens nothing: SHA-256 of the id in its cookie. The same as `session.id`. */
  handle: string
  /** When it began: the login. */
  createdAt: Instant
  /**
   * When it was used last; what followed within `touchInterval` may be missing. Taken from `expiresAt`, and
   * so absent where use does not move that: after `remember()`, without an `idleTimeout`, and in the last
   * `idleTimeout` before the absolute end.
   */
  lastSeenAt?: Instant
  expiresAt: Instant
  /** Where the login came from, with `metadata: true`. As the client says: show it as text. */
  ip?: string
  userAgent?: string
  /** Whether it is the session that `current` names. */
  current: boolean
}

/**
 * The sessions of users, without their requests. What the store cannot do is an error that says so,
 * FST_SESSIONS_ABILITY.
 */
export interface UserSessions {
  /**
   * The live sessions of a user, newest first.
   *
   * @param user what `login()` was given
   * @param options.current is marked in the list; a session must be loaded
   */
  listByUser (user: string, options?: { current?: SessionRef }): Promise<UserSession[]>
  /**
   * Ends all sessions of a user: "log out everywhere", or "everywhere else" with `except`. A request of
   * theirs that is under way brings none of them back, not even under the new id that it is about to get.
   *
   * @returns how many
   * @throws FST_SESSIONS_CONFLICT (503) when the user keeps logging in meanwhile
   */
  destroyByUser (user: string, options?: { except?: SessionRef }): Promise<number>
  /** Ends one session. False: there is none with this handle. */
  destroy (handle: string): Promise<boolean>
  /** Whether `login()` was called less than so many seconds ago. The session must be loaded. */
  isFresh (session: Session, seconds: number): boolean
  /** Removes expired records now; resolves to how many. 0 where the engine does that itself. */
  sweep (): Promise<number>
  /** How many live sessions there are, those without a login included. Some engines look at each. */
  count (): Promise<number>
}

/** `app.sessions`. Of several sessions it is about the one that keeps the login. */
export interface Sessions extends UserSessions {
  /**
   * One of several sessions.
   *
   * @throws TypeError when no session has this name
   */
  part (name: string): UserSessions
  /**
   * Opens a session where there is no route: in the handler of an upgrade, in a worker. Resolves to the
   * loaded session, an empty one when the header has no valid cookie. What is changed is written by its
   * `save()`. It can be read, changed and destroyed; what needs a cookie to be set (a new session, a new
   * id) is FST_SESSIONS_DETACHED at `save()`.
   *
   * @param header the value of the header Cookie
   */
  fromCookie (header: string | undefined): Promise<Session>
}
