/**
 * The two contracts between the core and a place that keeps sessions. Every sentence here is a promise that
 * the conformance suite (`testBackend` of `fastify-sessions/testing`) checks.
 */

/** Milliseconds since the epoch, as in `Date.now()`. */
export type Instant = number

/** What a database adapter keeps under one key. */
export interface StoredRecord {
  /** The encoded session: text, or bytes where it is sealed. Opaque to the adapter. */
  value: string | Uint8Array
  /**
   * Changes at each write and never comes back. A write proposes a new one; an engine that makes versions of
   * its own (Firestore, memcached, ...) may keep its own instead: what counts is what `read` returns.
   */
  version: string
  /** The record is expired from this instant on (`now >= expiresAt`). */
  expiresAt: Instant
}

/** What engines index beside the value. */
export interface RecordIndex {
  /** Whose session it is: any string, or null before a login. */
  principal: string | null
  createdAt: Instant
}

/** How a conditional write ended. */
export type WriteResult = 'ok' | 'conflict' | 'missing'

/** One row of the user index. */
export interface IndexedKey {
  key: string
  createdAt: Instant
  expiresAt: Instant
  /** The stored value, where the engine returns it in the same answer. */
  record?: StoredRecord
}

/**
 * What a database adapter writes: I/O and no policy. Keys are SHA-256 hashes in base64url (43 characters,
 * `[A-Za-z0-9_-]`). Every verb rejects for a system error only, and never hangs on an engine that is down
 * for longer than the engine's driver lets it (the core bounds each call by `storeTimeout`).
 *
 * A record whose `expiresAt` has come is missing in every verb, whether or not the engine has removed it.
 * "Now" is
 * `context.clock.now()`. Values handed in and out are never shared with what is stored.
 */
export interface SessionBackend {
  /** The record, or null when it is missing or expired. */
  read (key: string): Promise<StoredRecord | null>

  /** False: the key exists and nothing changed. Of parallel creates of one key, one gets true. */
  create (key: string, record: StoredRecord, index: RecordIndex): Promise<boolean>

  /**
   * Replaces value, version, expiry and index if the stored version is `ifVersion`. Never creates. Decided
   * inside ONE atomic operation of the engine.
   */
  update (key: string, record: StoredRecord, index: RecordIndex, ifVersion: string): Promise<WriteResult>

  /**
   * Moves the expiry and nothing else, in either direction. False: the record is missing, and nothing is
   * created.
   */
  touch (key: string, expiresAt: Instant): Promise<boolean>

  /**
   * Removes the record; removing a missing one is not an error. With `ifVersion` it removes only that
   * version, decided inside ONE atomic operation. Without it, 'conflict' is never returned.
   */
  remove (key: string, ifVersion?: string): Promise<WriteResult>

  // Optional abilities, detected by presence.

  /** The live sessions of one principal, in no particular order. */
  keysOf? (principal: string): AsyncIterable<IndexedKey>

  /** Removes all sessions of one principal but `except`. Resolves to how many. */
  removeAllOf? (principal: string, except?: string): Promise<number>

  /**
   * Removes at most `limit` records that are expired at `now`; resolves to how many. The core calls it again
   * while it returns `limit`. Absent where the engine expires records itself.
   */
  sweep? (now: Instant, limit: number): Promise<number>

  /** How many live sessions there are. */
  count? (): Promise<number>

  /** Resolves when the engine answers. */
  ping? (): Promise<void>

  /** Ends what this backend opened itself, and only that. Called once, after the last commit. */
  close? (): Promise<void>
}

/** What is kept of a request with `metadata: true`. Both are what others say: show them as text. */
export interface ClientInfo {
  /** `request.ip`, at most 64 characters. */
  ip: string
  /** The header User-Agent, at most 256 characters without control characters; '' without one. */
  userAgent: string
}

/** A session as the core sees it. */
export interface SessionRecord {
  data: Record<string, unknown>
  /** The absolute timeout counts from here. */
  createdAt: Instant
  /** When `login()` was called last, or null. */
  authenticatedAt: Instant | null
  /** The earlier of the idle and the absolute end. */
  expiresAt: Instant
  /** Whose session it is, or null before a login. */
  principal: string | null
  /** Set by `remember()`: the session ends then, in place of both timeouts. */
  rememberedUntil: Instant | null
  /** Who asked for the id that it has, with `metadata: true`. */
  client?: ClientInfo
  /** The handle of another session that this one belongs to, as the option `bindTo` says, or null. */
  boundTo: string | null
  /** Absent: the token has never been renewed. */
  renewal?: Renewal
  /** Opaque; changes at each write. */
  version: string
}

/** A token that is renewed carries a secret beside the id; these are SHA-256 hashes of secrets. */
export interface Renewal {
  /** When the current one was issued. */
  at: Instant
  current: string
  previous: string
  /** The end of the previous one; null while no browser has presented the current one. */
  until: Instant | null
}

/** What the core hands over to be written: the version is the store's to choose. */
export type SessionDraft = Omit<SessionRecord, 'version'>

/** Why a presented token is no session. */
export type RejectReason = 'malformed' | 'signature' | 'unknown' | 'expired' | 'corrupt' | 'bound' | 'renewed'

export type LoadResult =
  /** `token` is what the cookie should carry from now on: not what was presented after a key was rotated. */
  | LoadedSession
  /** `hash` names the token in diagnostics without giving it away. */
  | { rejected: RejectReason, hash: string | null }

export interface LoadedSession extends StoredSession {
  record: SessionRecord
  /** The browser was sent a newer token: this one still counts, and is not to be set again. */
  isSuperseded?: boolean
  /** The session should be written anew, when the browser can be told. */
  isRenewalDue?: boolean
}

/** A session that is stored. */
export interface StoredSession {
  /** What the cookie is to carry from now on. */
  token: string
  /** Names the session where its token must not appear; null where the store keeps nothing to name. */
  handle: string | null
}

export interface WrittenSession extends StoredSession {
  version: string
  renewal?: Renewal
}

/**
 * What the core talks to. A token is the value of the session cookie; what was loaded or written is told by
 * its token and its handle.
 * `lib/keyed-store.ts` makes one of a `SessionBackend`; a store whose token is the record itself (the sealed
 * cookie) implements it directly.
 */
export interface SessionStore {
  /**
   * Rejects only for system errors: whatever a client sends resolves.
   *
   * @param isAdmitted the token was good when the request began, and need not be so any more
   */
  load (token: string, isAdmitted?: boolean): Promise<LoadResult>
  create (draft: SessionDraft): Promise<WrittenSession>
  /** @param mayRenew the browser can be told of another token */
  update (
    session: StoredSession, draft: SessionDraft, ifVersion: string, mayRenew?: boolean
  ): Promise<WrittenSession | 'conflict' | 'missing'>
  /** Moves the expiry of `record`; null when the session is gone. */
  touch (session: StoredSession, record: SessionRecord, expiresAt: Instant): Promise<{ token: string } | null>
  remove (session: StoredSession, ifVersion?: string): Promise<WriteResult>
  /**
   * True on a store whose token is the record itself: every write is a new cookie, so that it fails once the
   * headers are on their way.
   */
  readonly tokenIsRecord?: boolean
  /** Present on a store that can be asked for sessions that no request has presented. */
  index?: SessionIndex
  /** Present on a store that takes no writes: why. The core throws it at the first write of a request. */
  refuse? (): Error
}

/** What a store works with whose token is the record itself. */
export interface SealedRecords {
  /**
   * The session, its expiry included, encrypted and authenticated as a token of `A-Z a-z 0-9 _ -`.
   *
   * @throws FST_SESSIONS_COOKIE_TOO_LARGE when browsers would not keep it
   */
  seal (draft: SessionDraft): WrittenSession
  /** Whatever a client sends resolves; the reason is one and the same for all that was not sealed here. */
  open (token: string): LoadResult
}

/** A session in a list: what names it, and what is stored. */
export interface ListedRecord { handle: string, record: SessionRecord }

/**
 * The sessions of a store by their users and handles. A handle is the SHA-256 of an id. What an engine cannot
 * do is absent.
 */
export interface SessionIndex {
  /** The live sessions of one principal, as the engine's index has them. */
  keysOf? (principal: string): Promise<IndexedKey[]>
  /** The same with their records, without those that have expired or cannot be read. */
  listOf? (principal: string): Promise<ListedRecord[]>
  /** Removes what the engine finds in one round. Resolves to how many. */
  removeAllOf? (principal: string, except?: string): Promise<number>
  /** False: there is no such session. */
  remove (handle: string): Promise<boolean>
  /** Removes all records that are expired. Resolves to how many; 0 where the engine expires them itself. */
  sweep (): Promise<number>
  /** How many live sessions there are. */
  count? (): Promise<number>
}

/** An answer that is there at once, or comes by promise. */
export type Awaitable<T> = T | Promise<T>

type Prompter<Verb> = Verb extends (...args: infer Args) => Promise<infer R>
  ? (...args: Args) => Awaitable<R>
  : Verb

/**
 * The same contract without promises, for what answers from the memory of its process: waiting would take
 * longer than the work. What it throws counts as a rejection. The suite sees it with a promise for each
 * answer.
 */
export type Prompt<Contract> = { [Verb in keyof Contract]: Prompter<Contract[Verb]> }
