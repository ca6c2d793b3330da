import type { Instant } from './store.js'

/**
 * What an application keeps in a session. Empty here; applications add their own fields:
 *
 * @example
 * declare module 'fastify-sessions' {
 *   interface SessionData { cart: string[] }
 * }
 */
export interface SessionData {}

/** The type of one field: as declared in `SessionData`, or unknown for a key that is not declared. */
export type FieldOf<K extends string> = K extends keyof SessionData ? SessionData[K] : unknown

/** Called when a verb is done, for code that does not await: `error` is null when it went well. */
export type Done = (error: Error | null) => void
/** The same, as the hooks of Fastify have it. */
export type HookDone = (error?: Error) => void

/** What `options()` takes: attributes of the cookie, as `setCookie` of @fastify/cookie has them. */
export interface ResponseCookieOptions {
  /** Seconds; never longer than the session lives. */
  maxAge?: number
  /** In place of `maxAge`. */
  expires?: Date
  domain?: string
  path?: string
  httpOnly?: boolean
  secure?: boolean | 'auto'
  /** true: 'strict', false: 'lax'. */
  sameSite?: boolean | 'strict' | 'lax' | 'none'
  partitioned?: boolean
  priority?: 'low' | 'medium' | 'high'
}

/**
 * The verbs and properties of a session. Their names are reserved: a field of the same name is reached with
 * `get()` and `set()` only. All but `load`, `options` and the verbs that return a promise throw
 * `FST_SESSIONS_NOT_LOADED` before the session is loaded.
 */
export interface SessionMembers {
  /**
   * Reads the session from the store, at most once per request, and resolves to the session itself. Without
   * a cookie nothing is read.
   *
   * @throws FST_SESSIONS_STORE (503) when the store fails or does not answer within `storeTimeout`
   */
  load (fields?: readonly string[]): Promise<Session>
  /**
   * One of several sessions: its fields and no others; verbs act on it alone. What is bound to it follows.
   *
   * @throws TypeError when no session has this name
   */
  part (name: string): Session

  /** The value of a key. An object may be changed in place; that is noticed when the request commits. */
  get<K extends string> (key: K): FieldOf<K> | undefined
  /**
   * Sets a key; undefined deletes it.
   *
   * @throws FST_SESSIONS_VALUE when JSON cannot carry the value, with the path to what it cannot carry
   */
  set<K extends string> (key: K, value: FieldOf<K> | undefined): void
  has (key: string): boolean
  /** @returns whether there was such a key */
  delete (key: string): boolean
  /** Deletes all keys. A session without data and without a principal is removed from the store. */
  clear (): void
  keys (): string[]
  /** A copy of the data that shares nothing with the session. */
  data (): Partial<SessionData> & Record<string, unknown>
  /** What JSON.stringify sees: the data. */
  toJSON (): Record<string, unknown>
  /**
   * Sets a key to what `change` makes of its value. When another request has written the session in between,
   * `change` is run again on the value that is stored now: counters are exact. It must be synchronous and
   * without side effects.
   *
   * @returns the new value
   */
  update<K extends string> (key: K, change: (value: FieldOf<K> | undefined) => FieldOf<K> | undefined)
  : FieldOf<K> | undefined

  /**
   * A new id at commit; the old one is dead then (OWASP ASVS 7.2.4). Keeps the keys named. Without keys it
   * keeps all data, or none with the option `regenerate: 'clear'`.
   */
  regenerate (keys?: readonly string[]): Promise<void>
  regenerate (done: Done): void
  regenerate (done: HookDone): void
  regenerate (keys: readonly string[], done: Done): void
  /**
   * Notes whose session it is. Always comes with a new id; sets `authenticatedAt` and starts the absolute
   * timeout anew.
   *
   * @param principal names the user, for instance by the primary key: any non-empty string
   */
  login (principal: string): Promise<void>
  /**
   * A persistent cookie, and a fixed end in place of both timeouts. Comes with a new id.
   *
   * @param seconds from now on; default `rememberFor` of the options
   */
  remember (seconds?: number): Promise<void>
  /**
   * Removes the session from the store at commit, then the cookie. What is set after that is a new session.
   */
  destroy (): Promise<void>
  destroy (done: Done): void
  destroy (done: HookDone): void
  /** The same as `destroy()`. */
  logout (): Promise<void>
  logout (done: Done): void
  logout (done: HookDone): void
  /** Moves the expiry at commit, whatever `touchInterval` says. */
  touch (): Promise<void>
  touch (done: Done): void
  touch (done: HookDone): void
  /** Reads the store again; drops what this request has changed since the last commit. */
  reload (): Promise<void>
  reload (done: Done): void
  reload (done: HookDone): void
  /**
   * Commits now, for what never reaches the end of an ordinary response: before `reply.hijack()`,
   * server-sent events, a long stream. The cookie is on the reply when it resolves. Later changes are
   * committed with the response.
   */
  save (): Promise<void>
  save (done: Done): void
  save (done: HookDone): void

  /**
   * Other cookie options for this response. A stored session's cookie is sent with them, whether it has
   * changed or not. Names that are not known are ignored. With another `domain` or `path` it is another
   * cookie to the browser.
   *
   * @throws FST_SESSIONS_OPTION when a value is wrong, or when browsers would refuse the cookie
   */
  options (cookie: ResponseCookieOptions): void

  /**
   * Names the session in logs and lists: SHA-256 of the id in the cookie, which it does not give away. Null
   * until the session is stored.
   */
  readonly id: string | null
  /** The same as `id`. */
  readonly sessionId: string | null
  /** Whether the request came without a valid session. */
  readonly isNew: boolean
  /** Whether there is something to commit. */
  isModified (): boolean
  /** Whether the session is stored as it is now. */
  isSaved (): boolean
  /**
   * Milliseconds since the epoch; the absolute timeout counts from here. Null until the session is stored.
   */
  readonly createdAt: Instant | null
  /**
   * Milliseconds since the epoch: the earlier of the idle and the absolute end. Null until the session is
   * stored.
   */
  readonly expiresAt: Instant | null
  /** When `login()` was called last, in milliseconds since the epoch, or null. */
  readonly authenticatedAt: Instant | null
  /** Whose session it is, or null before a login. */
  readonly principal: string | null
}

/** `request.session`: the fields of the application, and the members above. */
export type Session = SessionMembers & {
  [K in Exclude<keyof SessionData, keyof SessionMembers>]?: SessionData[K]
}
