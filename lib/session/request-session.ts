import type { ResponseCookieOptions } from '../../types/session.js'
import type { ClientInfo, Instant } from '../../types/store.js'
import type { EventLog } from '../base/diagnostics.js'
import type { CookieChange } from './commit.js'
import type { WorkingCopy } from './working-copy.js'

/** What a handler reads of a session's data. */
export type ReadableData = Pick<WorkingCopy, 'has' | 'get' | 'keys' | 'data'>
/** What changes them. */
export type WritableData = Pick<WorkingCopy, 'set' | 'delete' | 'clear' | 'update'>

/** What a handler and the plugin ask of the session of a request, be it one or several. */
export interface RequestSession {
  readonly isLoaded: boolean
  readonly isUsed: boolean
  readonly isNew: boolean
  readonly id: string | null
  readonly createdAt: Instant | null
  readonly authenticatedAt: Instant | null
  readonly principal: string | null
  readonly expiresAt: Instant | null
  readonly isClosed: boolean
  isModified (): boolean
  isSaved (): boolean
  /** One of several sessions. */
  part (name: string): RequestSession
  readable (use: string): ReadableData
  writable (use: string): WritableData
  /** @param fields what will be used; default: all */
  load (fields?: readonly string[]): Promise<void>
  reload (): Promise<void>
  regenerate (keys?: readonly string[]): Promise<void>
  login (principal: string): Promise<void>
  remember (seconds?: number): Promise<void>
  destroy (): Promise<void>
  touch (): Promise<void>
  options (cookie: ResponseCookieOptions): void
  commit (failed?: boolean): Promise<void>
  /** Whether a commit now would do nothing, so that nobody needs to wait for it. */
  isIdle (failed: boolean): boolean
  /** From here on the session cannot be changed: the response is on its way. */
  close (): void
}

/** What a session needs of another one that it is bound to. */
export interface Bond {
  load (): Promise<void>
  /** The id of that session as the request came with it, and as it is now; null where there is none. */
  readonly origin: string | null
  readonly handle: string | null
  /** It was ended or given another id by another request: what is bound to it is nobody's any more. */
  readonly isGone: boolean
}

/** The request and its response, as far as a session needs them. */
export interface Exchange {
  /** The values of the session cookie that the request carries. */
  readonly tokens: readonly string[]
  /** Where it is told what happens to the session. */
  readonly log: EventLog
  /** Why this request may not write, if it may not. */
  readonly refusal?: () => Error
  /** There is no response. */
  readonly isDetached?: boolean
  /** Whether it is too late to tell the browser something. */
  headersSent (): boolean
  /**
   * Whether the browser would keep a cookie that is set now. When not, the reason is in the log. Throws
   * where there is no response at all.
   */
  canSetCookie (): boolean
  /** Other attributes for the cookie. Throws when a browser would refuse it. */
  override (cookie: ResponseCookieOptions): void
  /** Whether there are such attributes that the browser has not been told yet. */
  readonly isOverridden: boolean
  /** Who sent the request, if that is to be kept. */
  client? (): ClientInfo | undefined
  /** Tells the browser. Called again when a later commit changes the cookie again. */
  respond (change: CookieChange): void
}
