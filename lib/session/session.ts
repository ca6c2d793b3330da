import { inspect } from 'node:util'
import type { ResponseCookieOptions } from '../../types/session.js'
import type { Awaitable, Instant, LoadResult, LoadedSession } from '../../types/store.js'
import type { SessionTrace } from '../base/diagnostics.js'
import type { CookieChange, Intents, Job, SessionSettings, Stored } from './commit.js'
import type { Fate } from './fate.js'
import type { Bond, Exchange, RequestSession } from './request-session.js'
import type { Data } from './working-copy.js'
import { isPending, whenThere } from '../base/awaitable.js'
import { explainUnset, isWatched, publish, traced } from '../base/diagnostics.js'
import { touchIsDue, wholeInstant } from '../base/lifetime.js'
import { noSuchSession } from '../base/options.js'
import { CorruptError, GoneError, HeadersSentError, NotLoadedError, StoreError } from '../errors.js'
import { carryOut, cookieOf } from './commit.js'
import { decide } from './fate.js'
import { WorkingCopy } from './working-copy.js'

const noIntents: Intents = { rotate: false, touch: false, login: null, rememberedUntil: null }

/**
 * One session within one request: what is stored, what the request sees of it, and what is to be done at
 * commit.
 */
export class SessionState implements RequestSession, Bond {
  readonly #settings: SessionSettings
  readonly #exchange: Exchange
  readonly #bond: Bond | null
  /** Undefined: nobody has loaded, or the last attempt failed. Parallel callers share one read. */
  #loading: Promise<void> | undefined
  /** Why the last attempt to load failed. */
  #failure: unknown
  /** Undefined until loaded. */
  #copy: WorkingCopy | undefined
  /** What the store holds, as this request saw it last. Null: nothing, the session is new. */
  #stored: Stored | null = null
  /** The token should be renewed with the next write. */
  #isRenewalDue = false
  /** The id that the request came with. */
  #origin: string | null = null
  /** A stored session that `destroy()` was called on, to be removed at commit. */
  #doomed: Stored | null = null
  /** `destroy()` was called, and the browser has a cookie: at commit it is logged out. */
  #isEnding = false
  #intents = noIntents
  /** The session was destroyed or rotated by another request: nothing is written any more. */
  #gone = false
  /** The response is on its way. */
  #closed = false
  /** The last of the verbs and commits that wait for their turn. Undefined: none is under way. */
  #turn: Promise<void> | undefined
  /** What came first in turn has been called and has not returned yet: with a store that answers at once. */
  #isBeginning = false

  /** @param bond the session that this one is bound to, if it is */
  constructor (settings: SessionSettings, exchange: Exchange, bond: Bond | null = null) {
    this.#settings = settings
    this.#exchange = exchange
    this.#bond = bond
  }

  /** For `console.log`: neither the id nor the data. A closure, for it is called on the proxy. */
  get [inspect.custom] (): () => string {
    const copy = this.#copy
    return () => copy === undefined ? 'Session { not loaded }' : `Session { keys: ${inspect(copy.keys())} }`
  }

  #copyOf (data: Data): WorkingCopy {
    return new WorkingCopy(data, this.#settings.codec)
  }

  // What is known. All but isLoaded and isUsed throw FST_SESSIONS_NOT_LOADED before load().

  get isLoaded (): boolean {
    return this.#copy !== undefined
  }

  /** Whether the response depends on the session. */
  get isUsed (): boolean {
    return this.#loading !== undefined
  }

  get isNew (): boolean {
    return this.#known('isNew').stored === null
  }

  /** SHA-256 of the id in the cookie: names the session, opens nothing. Null until it is stored. */
  get id (): string | null {
    this.#known('id')
    return this.handle
  }

  get handle (): string | null {
    return this.#stored?.handle ?? null
  }

  get isGone (): boolean {
    return this.#gone
  }

  get origin (): string | null {
    return this.#origin
  }

  get createdAt (): Instant | null {
    const { login, record } = this.#known('createdAt')
    return login?.at ?? record?.createdAt ?? null
  }

  get authenticatedAt (): Instant | null {
    const { login, record } = this.#known('authenticatedAt')
    return login?.at ?? record?.authenticatedAt ?? null
  }

  get principal (): string | null {
    const { login, record } = this.#known('principal')
    return login?.principal ?? record?.principal ?? null
  }

  get expiresAt (): Instant | null {
    return this.#known('expiresAt').record?.expiresAt ?? null
  }

  isModified (): boolean {
    const { copy, login, rotate, rememberedUntil } = this.#known('isModified')
    return copy.isModified() || rotate || login !== null || rememberedUntil !== null || this.#isEnding
  }

  isSaved (): boolean {
    return this.#known('isSaved').stored !== null && !this.isModified()
  }

  part (name: string): RequestSession {
    if (name === this.#settings.name) return this
    throw noSuchSession(name)
  }

  /** The data as this request sees them. */
  readable (use: string): WorkingCopy {
    return this.#loaded(use)
  }

  /** The data, to be changed. Throws whatever refuses the write. */
  writable (use: string): WorkingCopy {
    const copy = this.#loaded(use)
    this.#assertWritable()
    return copy
  }

  #loaded (use: string): WorkingCopy {
    if (this.#copy === undefined) throw this.#failure ?? new NotLoadedError(use)
    return this.#copy
  }

  #known (use: string) {
    const copy = this.#loaded(use)
    const { rotate, touch, login, rememberedUntil } = this.#intents
    const stored = this.#stored
    return { copy, stored, record: stored?.record, rotate, touch, login, rememberedUntil }
  }

  #assertWritable (): void {
    if (this.#exchange.refusal !== undefined) throw this.#exchange.refusal()
    if (this.#closed || this.#exchange.headersSent()) throw new HeadersSentError()
  }

  // Loading

  load (): Promise<void> {
    return (this.#loading ??= this.#attempt())
  }

  async #attempt (): Promise<void> {
    // A forgotten `await` is to show with every store, also with one that answers at once.
    await null
    const { tokens } = this.#exchange
    try {
      const reading = isWatched('load') ? this.#readWatched(tokens) : this.#read(tokens)
      if (isPending(reading)) await reading
      this.#failure = undefined
    } catch (error) {
      this.#loading = undefined
      this.#failure = error
      throw error
    }
  }

  /** Loaded at once where there is nothing to read. */
  loadIfAnonymous (): void {
    if (this.#exchange.tokens.length > 0) return
    this.#copy = this.#copyOf({})
    this.#loading = Promise.resolve()
  }

  /** Reads again, and drops what this request has changed since the last commit. */
  async reload (): Promise<void> {
    await this.#inTurn(async () => {
      await this.load()
      const current = this.#stored ?? this.#doomed
      await this.#read(current === null ? [] : [current.presented])
      this.#doomed = null
      this.#isEnding = false
      this.#intents = noIntents
      if (current !== null && this.#stored === null) this.#gone = true
    })
  }

  #readWatched (tokens: readonly string[]): Promise<void> {
    const trace: SessionTrace = { session: this.#settings.name }
    return traced('load', trace, async () => {
      await this.#read(tokens)
      trace.hash = this.handle
      trace.outcome = this.#stored === null ? 'none' : 'found'
    })
  }

  /** @param position of the one that is tried next */
  #read (tokens: readonly string[], position = 0, isCorrupt = false): Awaitable<void> {
    if (position === tokens.length) return this.#findNone(isCorrupt)
    const presented = tokens[position]
    const finding = this.#bond === null
      ? this.#settings.store.load(presented)
      : this.#findBound(presented, this.#bond)
    return whenThere(finding, result => {
      if ('record' in result) return this.#find(presented, result)
      this.#report(result)
      return this.#read(tokens, position + 1, isCorrupt || result.rejected === 'corrupt')
    })
  }

  #findNone (isCorrupt: boolean): void {
    if (isCorrupt && this.#settings.onCorrupt === 'throw') throw new CorruptError()
    this.#stored = null
    this.#copy = this.#copyOf({})
  }

  #find (presented: string, loaded: LoadedSession): void {
    const { record, token, handle, isSuperseded = false, isRenewalDue = false } = loaded
    this.#stored = { presented, token, handle, isSuperseded, record }
    this.#isRenewalDue = isRenewalDue
    this.#copy = this.#copyOf(record.data)
    this.#origin ??= handle
  }

  #report ({ rejected, hash }: Extract<LoadResult, { rejected: unknown }>): void {
    const message = { session: this.#settings.name, hash, reason: rejected }
    publish(rejected === 'corrupt' ? 'corrupt' : 'rejected', message, this.#exchange.log)
    if (rejected === 'expired') publish('expired', message, this.#exchange.log)
  }

  /** What was made for another session than the one beside it is nothing. */
  async #findBound (presented: string, bond: Bond): Promise<LoadResult> {
    const result = await this.#settings.store.load(presented)
    if ('rejected' in result) return result
    await bond.load()
    const { origin, handle } = bond
    const { boundTo = null } = result.record
    const isOurs = boundTo === handle || (handle !== null && boundTo === origin)
    return isOurs ? result : { rejected: 'bound', hash: result.handle }
  }

  // What takes effect at commit

  async regenerate (keys?: readonly string[]): Promise<void> {
    await this.rotate(keys ?? (this.#settings.regenerate === 'clear' ? [] : undefined))
  }

  /** A new id; keeps the keys named, or all data. */
  async rotate (keys?: readonly string[]): Promise<void> {
    await this.#ask(copy => {
      if (keys !== undefined) copy.keepOnly(keys)
      this.#intents = { ...this.#intents, rotate: true }
    })
  }

  async login (principal: string): Promise<void> {
    if (typeof principal !== 'string' || principal === '') {
      throw new TypeError('session.login() takes the principal as a non-empty string')
    }
    await this.#ask(() => {
      this.#intents = { ...this.#intents, rotate: true, login: { principal, at: this.#settings.clock.now() } }
    })
  }

  async remember (seconds: number = this.#settings.rememberFor): Promise<void> {
    if (!Number.isFinite(seconds) || seconds <= 0) {
      throw new TypeError('session.remember() takes a number of seconds greater than 0')
    }
    await this.#ask(() => {
      // With a new id, so that a slower request that only notes activity cannot cut the longer life short
      // again.
      const rememberedUntil = wholeInstant(this.#settings.clock.now() + seconds * 1000)
      this.#intents = { ...this.#intents, rotate: true, rememberedUntil }
    })
  }

  async destroy (): Promise<void> {
    await this.#ask(() => {
      this.#doomed ??= this.#stored
      this.#isEnding ||= this.#doomed !== null || this.#gone || this.#exchange.tokens.length > 0
      this.#stored = null
      this.#intents = noIntents
      this.#copy = this.#copyOf({})
    })
  }

  async touch (): Promise<void> {
    await this.#inTurn(async () => {
      await this.load()
      this.#intents = { ...this.#intents, touch: true }
    })
  }

  /** Other attributes of the cookie, for this response. */
  options (cookie: ResponseCookieOptions): void {
    this.#assertWritable()
    this.#exchange.override(cookie)
  }

  /** At once where the session is loaded and nothing is under way. */
  async #ask (effect: (copy: WorkingCopy) => void): Promise<void> {
    this.#assertWritable()
    await this.#inTurn(async () => {
      if (this.#copy === undefined) await this.load()
      effect(this.#copy!)
    })
  }

  /** Verbs and commits of one request take effect in the order of the calls, one after the other. */
  #inTurn (work: () => Promise<void>): Promise<void> {
    // Those who are called meanwhile, as by an event, and call back wait until it is known whose turn it is.
    if (this.#isBeginning) return Promise.resolve().then(() => this.#inTurn(work))
    const turn = this.#turn === undefined ? this.#begin(work) : this.#turn.then(work, work)
    const end = () => { if (this.#turn === turn) this.#turn = undefined }
    this.#turn = turn
    turn.then(end, end)
    return turn
  }

  #begin (work: () => Promise<void>): Promise<void> {
    this.#isBeginning = true
    try {
      return work()
    } finally {
      this.#isBeginning = false
    }
  }

  // Commit

  /**
   * Carries out what this request has decided so far.
   *
   * @param failed the response is a server error: changes of data are dropped
   * @throws FST_SESSIONS_GONE when a new id was asked for, and the session was ended or rotated meanwhile
   */
  commit (failed = false): Promise<void> {
    return this.#inTurn(() => this.#save(failed))
  }

  async #save (failed: boolean): Promise<void> {
    if (this.#copy === undefined) return
    const { commits } = this.#settings
    commits.begin()
    try {
      // To what it is bound must be known before it is written.
      if (this.#bond !== null) await this.#bond.load()
      const { refusal } = this.#exchange
      const isModified = this.#copy.isModified()
      if (refusal !== undefined && isModified && !failed) throw refusal()
      const fate = this.#fate(failed, isModified)
      let cookie = await this.#carryOut(fate, failed)
      if (fate === 'destroy') cookie = await this.#carryOut(this.#fate(failed), failed) ?? cookie
      if (!failed) cookie ??= this.#reissued()
      if (cookie !== undefined) this.#exchange.respond(cookie)
      if (this.#gone) this.#giveUp(failed)
    } finally {
      commits.end()
    }
  }

  /** The cookie as it is, when it is to be sent with other attributes. */
  #reissued (): CookieChange | undefined {
    if (this.#stored === null || this.#stored.isSuperseded || !this.#exchange.isOverridden) return undefined
    return cookieOf(this.#settings, this.#stored)
  }

  isIdle (failed: boolean): boolean {
    if (this.#turn !== undefined || this.#gone || this.#exchange.isOverridden) return false
    if (this.#copy === undefined) return true
    const isModified = this.#copy.isModified()
    return (failed || !isModified) && this.#fate(failed, isModified) === 'nothing'
  }

  /** Data for a session that was logged out are dropped in silence. That a login failed must be known. */
  #giveUp (failed: boolean): void {
    const { login, rememberedUntil } = this.#intents
    this.#intents = noIntents
    if ((login !== null || rememberedUntil !== null) && !failed) throw new GoneError()
  }

  /** Whether the next commit gives the session a new id. */
  get isRotating (): boolean {
    return this.#intents.rotate
  }

  /** From here on the session cannot be changed: the response is on its way. */
  close (): void {
    this.#closed = true
  }

  get isClosed (): boolean {
    return this.#closed
  }

  #fate (failed: boolean, isModified = this.#copy!.isModified()): Fate {
    if (!this.#isEnding && (this.#gone || this.#bond?.isGone)) return 'nothing'
    const { copy, login, rotate, touch, rememberedUntil, stored } = this.#known('save')
    const { clock, timeouts } = this.#settings
    return decide({
      doomed: this.#isEnding,
      stored: stored !== null,
      rotating: rotate || this.#isRebound(),
      changed: isModified || login !== null || rememberedUntil !== null || this.#mayRenew(failed),
      empty: stored === null && copy.isEmpty() && this.principal === null,
      touchDue: stored !== null &&
        (touch || stored.token !== stored.presented || touchIsDue(clock.now(), stored.record, timeouts)),
      failed
    })
  }

  #mayRenew (failed: boolean): boolean {
    const exchange = this.#exchange
    if (!this.#isRenewalDue || failed || exchange.isDetached) return false
    return !exchange.headersSent() && exchange.canSetCookie()
  }

  /** Where the session that this one is bound to got a new id, this one follows it. */
  #isRebound (): boolean {
    if (this.#bond === null || this.#stored === null) return false
    return this.#bond.handle !== (this.#stored.record.boundTo ?? null)
  }

  /** @returns what the browser has to be told when all is done */
  async #carryOut (fate: Fate, failed: boolean): Promise<CookieChange | undefined> {
    if (fate === 'nothing') return undefined
    const isNewId = fate === 'create' || fate === 'rotate'
    if (isNewId || this.#settings.store.tokenIsRecord) {
      if (this.#exchange.headersSent()) {
        if (fate !== 'touch') throw new HeadersSentError()
        explainUnset(this.#settings.name, 'headers sent', this.#exchange.log)
        return undefined
      }
      if (fate === 'touch' && this.#exchange.isDetached) return undefined
      // A session under an id that the browser never learns would only fill the store.
      if (!this.#exchange.canSetCookie()) return undefined
    }
    const { copy, stored } = this.#known('save')
    const settings = this.#settings
    const isRemoval = fate === 'destroy'
    const job: Job = {
      settings,
      log: this.#exchange.log,
      copy,
      intents: this.#intents,
      stored: isRemoval ? this.#doomed : stored,
      boundTo: this.#bond?.handle ?? null,
      failed,
      now: settings.clock.now(),
      isNewId,
      mayRenew: this.#mayRenew(failed),
      client: isNewId ? this.#exchange.client?.() : undefined
    }
    const saves = !isRemoval && !failed
    if (saves) copy.begin()
    try {
      const carrying = carryOut(fate, job)
      const outcome = isPending(carrying) ? await carrying : carrying
      if (saves) copy.settle()
      if (isRemoval) {
        this.#doomed = null
        this.#isEnding = false
      } else if (!outcome.gone) this.#intents = noIntents
      this.#stored = outcome.stored
      this.#isRenewalDue = false
      this.#gone = outcome.gone === true
      if (this.#gone) this.#copy = this.#copyOf({})
      return outcome.cookie
    } catch (error) {
      if (saves) copy.restore()
      // That activity could not be noted is told by the event `failure`, and no reason to refuse a read.
      if (fate === 'touch' && !this.#intents.touch && error instanceof StoreError) return undefined
      throw error
    }
  }
}
