import { setTimeout as pause } from 'node:timers/promises'
import type {
  Awaitable, ClientInfo, Instant, Prompt, SessionDraft, SessionRecord, SessionStore, StoredSession,
  WrittenSession
} from '../../types/store.js'
import type { Clock } from '../base/clock.js'
import type { EventLog, SessionEvent } from '../base/diagnostics.js'
import type { InFlight } from '../base/in-flight.js'
import type { Timeouts } from '../base/lifetime.js'
import type { InTurn } from '../base/turns.js'
import type { Codec } from '../records/codec.js'
import type { Fate } from './fate.js'
import type { UserLimit } from './user-limit.js'
import type { Data, WorkingCopy } from './working-copy.js'
import { whenThere } from '../base/awaitable.js'
import { explainUnset, isWatched, publish, traced } from '../base/diagnostics.js'
import { expiryAt } from '../base/lifetime.js'
import { ConflictError } from '../errors.js'

export interface SessionSettings {
  readonly name: string
  readonly store: Prompt<SessionStore>
  /** How data are compared and copied. */
  readonly codec: Codec
  readonly clock: Clock
  readonly timeouts: Timeouts
  /** What `regenerate()` without keys does with the data; default 'keep'. */
  readonly regenerate?: 'keep' | 'clear'
  /** Whether a record that cannot be read is no session, or an error. */
  readonly onCorrupt: 'ignore' | 'throw'
  /** Seconds that `remember()` gives when it is not told. */
  readonly rememberFor: number
  /** Seconds after which a commit that keeps meeting conflicts gives up. */
  readonly storeTimeout: number
  /** Whether the cookie carries the end of the session, so that each move of it is a new cookie. */
  readonly persistent: boolean
  /** Absent: a user may have any number of sessions. */
  readonly limit?: UserLimit
  /** Those that lost against another write wait for each other here, before they try again. */
  readonly contenders: InTurn
  /** Where it is told what happens outside requests. */
  readonly log: EventLog
  /** Those under way: the store closes after them. */
  readonly commits: InFlight
}

/** A session as the store keeps it, but for its data. */
export interface Stored {
  /** What the browser has. Differs from `token` when that is to be issued anew. */
  readonly presented: string
  readonly token: string
  readonly handle: string | null
  /** The browser was sent a newer token, by another response. */
  readonly isSuperseded: boolean
  readonly record: Readonly<Omit<SessionRecord, 'data'>>
}

/** What was asked of a session beside changes of its data. */
export interface Intents {
  readonly rotate: boolean
  readonly touch: boolean
  readonly login: { readonly principal: string, readonly at: Instant } | null
  readonly rememberedUntil: Instant | null
}

const LOST_AGAIN = 'the session was changed by other requests again and again; nothing of this request was saved'

/** What the response has to tell the browser. */
export type CookieChange =
  | { kind: 'set', token: string, expiresAt: Instant, persistent: boolean }
  | { kind: 'delete' }

export interface Job {
  readonly settings: SessionSettings
  readonly log: EventLog
  /** Its batch is what is written, unless `failed`. */
  readonly copy: WorkingCopy
  readonly intents: Intents
  /** What the fate is about; null for 'create', and for 'destroy' when there is none. */
  readonly stored: Stored | null
  /** The id of the session that this one is bound to. */
  readonly boundTo: string | null
  readonly failed: boolean
  readonly now: Instant
  /** Who is to get a new id, where that is kept. */
  readonly client: ClientInfo | undefined
  /** The session is to get a new id. */
  readonly isNewId: boolean
  /** The token is the browser's own, and the browser can be told of another. */
  readonly mayRenew: boolean
}

export interface Outcome {
  stored: Stored | null
  /** Absent: the cookie stays as it is. */
  cookie?: CookieChange
  /** The session was destroyed or rotated by another request: the changes are dropped. */
  gone?: true
}

/** Does what was decided: server writes only, the cookie is the caller's. Rejects when a write failed. */
export function carryOut (fate: Exclude<Fate, 'nothing'>, job: Job): Awaitable<Outcome> {
  const operation = fate === 'destroy' ? 'destroy' : 'commit'
  return isWatched(operation) ? performWatched(operation, fate, job) : perform(fate, job)
}

async function performWatched (
  operation: 'commit' | 'destroy', fate: Exclude<Fate, 'nothing'>, job: Job
): Promise<Outcome> {
  const trace = { session: job.settings.name, hash: job.stored?.handle ?? null, outcome: fate }
  let outcome: Outcome
  // The outcome holds the token: it is none of what those who watch get to see.
  await traced(operation, trace, async () => { outcome = await perform(fate, job) })
  return outcome!
}

function perform (fate: Exclude<Fate, 'nothing'>, job: Job): Awaitable<Outcome> {
  switch (fate) {
    case 'create': return create(job)
    case 'update': return update(job, job.stored!)
    case 'touch': return touch(job, job.stored!)
    case 'rotate': return rotate(job, job.stored!)
    case 'destroy': return destroy(job, job.stored)
  }
}

async function create (job: Job): Promise<Outcome> {
  const draft = draftOf(job, job.copy.current(), null)
  const written = await job.settings.store.create(draft)
  try {
    await admit(job, written, draft)
  } catch (error) {
    await removeIfPossible(job, written)
    throw error
  }
  report(job, 'created', written.handle)
  return kept(job, written, draft, undefined)
}

function update (job: Job, stored: Stored): Awaitable<Outcome> {
  const { store } = job.settings
  return contend(job, stored, job.copy.current(), (data, current) => {
    const { record } = current
    const draft = draftOf(job, data, record)
    if (draft.principal === null && Object.keys(data).length === 0) {
      return whenThere(store.remove(stored, record.version), removed => {
        if (removed !== 'ok') return removed
        report(job, 'destroyed', stored.handle)
        return ended
      })
    }
    return whenThere(store.update(stored, draft, record.version, job.mayRenew), written => {
      return typeof written === 'string' ? written : kept(job, written, draft, current)
    })
  })
}

async function touch (job: Job, stored: Stored): Promise<Outcome> {
  const { store, timeouts } = job.settings
  const expiresAt = expiryAt(job.now, stored.record, timeouts)
  const record = { ...stored.record, data: job.copy.current() }
  const touched = await store.touch(stored, record, expiresAt)
  if (touched === null) return gone(job, stored)
  const { version, renewal } = record
  const written = { token: touched.token, handle: stored.handle, version, renewal }
  return kept(job, written, { ...record, expiresAt }, stored)
}

/**
 * The new record first, then the old one removed: whatever happens in between, one of them works. Removing
 * is conditional on the version that the new record was made of, so that a write or a logout in between is
 * not undone.
 */
async function rotate (job: Job, stored: Stored): Promise<Outcome> {
  const { store } = job.settings
  let created: WrittenSession | undefined
  try {
    const data = job.failed ? await pristine(job, stored) : job.copy.current()
    const outcome = data === null
      ? gone(job, stored)
      : await contend(job, stored, data, async (data, { record }) => {
        const draft = draftOf(job, data, record)
        const written: WrittenSession | 'conflict' | 'missing' = created === undefined
          ? await store.create(draft)
          : await store.update(created, draft, created.version)
        if (typeof written === 'string') return 'missing'
        const isFirst = created === undefined
        created = written
        if (isFirst) await admit(job, written, draft, stored)
        const removed = await store.remove(stored, record.version)
        return removed === 'ok' ? kept(job, written, draft, stored) : removed
      })
    if (outcome.gone && created !== undefined) await store.remove(created)
    if (!outcome.gone) report(job, 'rotated', created!.handle)
    return outcome
  } catch (error) {
    // The response is an error without a cookie: the browser goes on with the old id. Where the old record is
    // missing after a failed removal, that may have been a logout, and completing the rotation would undo it.
    if (created !== undefined) await removeIfPossible(job, created)
    throw error
  }
}

/** Called when the new record is there, and before the old one is removed: a refusal leaves that alone. */
async function admit (
  { settings, log, intents, failed }: Job, written: WrittenSession, { principal, createdAt }: SessionDraft,
  previous?: Stored
): Promise<void> {
  if (settings.limit === undefined || intents.login === null || failed) return
  await settings.limit.admit(principal!, { key: written.handle!, createdAt }, previous?.handle ?? null, log)
}

/**
 * Where another request has ended the session or given it a new id, the cookie goes all the same: this
 * browser asked to be logged out.
 */
async function destroy (job: Job, stored: Stored | null): Promise<Outcome> {
  if (stored !== null) {
    const removed = await job.settings.store.remove(stored)
    report(job, removed === 'missing' ? 'gone' : 'destroyed', stored.handle)
  }
  return ended
}

/** Where what went wrong before is what the caller must know. */
async function removeIfPossible ({ settings }: Job, session: StoredSession): Promise<void> {
  try {
    await settings.store.remove(session)
  } catch {
    // The store has told it.
  }
}

type Attempt = Outcome | 'conflict' | 'missing'
type ConditionalWrite = (data: Data, current: Stored) => Awaitable<Attempt>

/** Repeats a conditional write until nobody has written in between. */
function contend (job: Job, stored: Stored, data: Data, write: ConditionalWrite): Awaitable<Outcome> {
  return whenThere(write(data, stored), outcome => {
    return outcome === 'conflict' ? retry(job, stored, write) : concluded(job, stored, outcome)
  })
}

/**
 * Reads what the others wrote, and applies this request's changes to it again. Those of one process take
 * turns at that: fifty at once would make each other fail again and again.
 */
async function retry (job: Job, stored: Stored, write: ConditionalWrite): Promise<Outcome> {
  const { store, storeTimeout, contenders } = job.settings
  const deadline = performance.now() + storeTimeout * 1000
  let outcome: Attempt = 'conflict'
  for (let tries = 0; outcome === 'conflict'; tries++) {
    report(job, 'conflict', stored.handle)
    if (performance.now() > deadline) throw new ConflictError(LOST_AGAIN)
    if (tries > 0) await pause(Math.random() * Math.min(2 ** tries, 64))
    outcome = await contenders(stored.token, again)
  }
  return concluded(job, stored, outcome)

  async function again (): Promise<Attempt> {
    const latest = await store.load(stored.token, true)
    if (!('record' in latest)) return 'missing'
    const { record, isSuperseded = false } = latest
    return write(job.failed ? record.data : job.copy.rebase(record.data), { ...stored, record, isSuperseded })
  }
}

function concluded (job: Job, stored: Stored, outcome: Outcome | 'missing'): Outcome {
  return outcome === 'missing' ? gone(job, stored) : outcome
}

/**
 * The stored data without this request's changes, for a rotation that is carried out although the request
 * failed.
 */
async function pristine ({ settings }: Job, stored: Stored): Promise<Data | null> {
  const latest = await settings.store.load(stored.token, true)
  return 'record' in latest ? latest.record.data : null
}

function draftOf (job: Job, data: Data, record: Stored['record'] | null): SessionDraft {
  const { settings, intents, boundTo, failed, now } = job
  const { login, rememberedUntil } = failed ? { login: null, rememberedUntil: null } : intents
  const content = {
    data,
    createdAt: login?.at ?? record?.createdAt ?? now,
    authenticatedAt: login?.at ?? record?.authenticatedAt ?? null,
    principal: login?.principal ?? record?.principal ?? null,
    // A login is a new beginning: who logs in does not inherit the long life that another asked for.
    rememberedUntil: rememberedUntil ?? (login === null ? record?.rememberedUntil ?? null : null),
    client: job.isNewId ? job.client : record?.client,
    renewal: job.isNewId ? undefined : record?.renewal,
    boundTo
  }
  return Object.assign(content, { expiresAt: expiryAt(now, content, settings.timeouts) })
}

function kept (
  { settings }: Job, { token, handle, version, renewal }: WrittenSession, draft: Omit<SessionDraft, 'data'>,
  previous: Stored | undefined
): Outcome {
  const { createdAt, authenticatedAt, principal, rememberedUntil, client, boundTo, expiresAt } = draft
  const record = {
    createdAt, authenticatedAt, principal, rememberedUntil, client, boundTo, renewal, expiresAt, version
  }
  const isSuperseded = previous?.isSuperseded === true && token === previous.token
  const stored = { presented: token, token, handle, isSuperseded, record }
  if (isSuperseded) return { stored }
  const cookie = cookieOf(settings, stored)
  const hasMoved = cookie.persistent && expiresAt !== previous?.record.expiresAt
  return token === previous?.presented && !hasMoved ? { stored } : { stored, cookie }
}

/** The cookie of a stored session as it is now. */
export function cookieOf (settings: SessionSettings, { token, record }: Pick<Stored, 'token' | 'record'>) {
  const { expiresAt, rememberedUntil } = record
  return { kind: 'set', token, expiresAt, persistent: settings.persistent || rememberedUntil !== null } as const
}

const ended: Readonly<Outcome> = { stored: null, cookie: { kind: 'delete' } }

function gone (job: Job, { handle }: Stored): Outcome {
  report(job, 'gone', handle)
  explainUnset(job.settings.name, 'gone', job.log)
  return { stored: null, gone: true }
}

function report ({ settings, log }: Job, event: SessionEvent, hash: string | null): void {
  publish(event, { session: settings.name, hash }, log)
}
