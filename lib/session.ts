import type { Instant } from '../types/store.js'
import type { CookieChange, Intents, SessionSettings, Stored } from './commit.js'
import { carryOut, decide } from './commit.js'
import { publish } from './diagnostics.js'
import { HeadersSentError, NotLoadedError } from './errors.js'
import { touchIsDue } from './lifetime.js'
import { WorkingCopy } from './working-copy.js'

/** The request and its response, as far as a session needs them. */
export interface Exchange {
  /** The values of the session cookie that the request carries. */
  readonly tokens: readonly string[]
  /** Why this request may not write, if it may not. */
  readonly refusal?: () => Error
  /** Whether it is too late to tell the browser something. */
  headersSent (): boolean
  /** Tells the browser. Called again when a later commit changes the cookie again. */
  respond (change: CookieChange): void
}

const noIntents: Intents = { rotate: false, touch: false, login: null, rememberedUntil: null }

/**
 * One session within one request: what is stored, what the request sees of it, and what is to be done at
 * commit.
 */
export class SessionState {
  readonly #settings: SessionSettings
  readonly #exchange: Exchange
  /** Undefined: nobody has loaded, or the last attempt failed. Parallel callers share one read. */
  #loading: Promise<void> | undefined
  /** Undefined until loaded. */
  #copy: WorkingCopy | undefined
  /** What the store holds, as this request saw it last. Null: nothing, the session is new. */
  #stored: Stored | null = null
  /** A stored session that `destroy()` was called on, to be removed at commit. */
  #doomed: Stored | null = null
  /** Replaced, never changed: a commit knows by identity whether more was asked while it ran. */
  #intents = noIntents
  /** The session was destroyed or rotated by another request: nothing is written any more. */
  #gone = false
  /** The response is on its way. */
  #closed = false
  /** Commits of one request run one after the other. */
  #committing: Promise<unknown> | undefined

  constructor (settings: SessionSettings, exchange: Exchange) {
    this.#settings = settings
    this.#exchange = exchange
  }

  // What is known. All but isLoaded and isUsed throw FST_SESSIONS_NOT_LOADED before load().

  get isLoaded (): boolean {
    return this.#copy !== undefined
  }

  /** Whether the response depends on the session. */
  get isUsed (): boolean {
    return this.#copy !== undefined || this.#loading !== undefined
  }

  get isNew (): boolean {
    return this.#known('isNew').stored === null
  }

  /** SHA-256 of the id in the cookie: names the session, opens nothing. Null until it is stored. */
  get id (): string | null {
    return this.#known('id').stored?.handle ?? null
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
    return copy.isModified() || rotate || login !== null || rememberedUntil !== null || this.#doomed !== null
  }

  isSaved (): boolean {
    return this.#known('isSaved').stored !== null && !this.isModified()
  }

  /** The data as this request sees them. */
  readable (use: string): WorkingCopy {
    return this.#known(use).copy
  }

  /** The data, to be changed. Throws whatever refuses the write. */
  writable (use: string): WorkingCopy {
    const { copy } = this.#known(use)
    this.#assertWritable()
    return copy
  }

  #known (use: string) {
    if (this.#copy === undefined) throw new NotLoadedError(use)
    return { copy: this.#copy, stored: this.#stored, record: this.#stored?.record, ...this.#intents }
  }

  #assertWritable (): void {
    if (this.#exchange.refusal !== undefined) throw this.#exchange.refusal()
    if (this.#closed || this.#exchange.headersSent()) throw new HeadersSentError()
  }

  // Loading

  load (): Promise<void> {
    if (this.#loading === undefined) {
      this.#loading = this.#read(this.#exchange.tokens)
      this.#loading.catch(() => { this.#loading = undefined })
    }
    return this.#loading
  }

  /** Loaded at once where there is nothing to read. */
  loadIfAnonymous (): void {
    if (this.#copy === undefined && this.#exchange.tokens.length === 0) this.#copy = new WorkingCopy({})
  }

  /** Reads again, and drops what this request has changed since the last commit. */
  async reload (): Promise<void> {
    await this.load()
    const current = this.#stored ?? this.#doomed
    this.#doomed = null
    this.#intents = noIntents
    await this.#read(current === null ? [] : [current.presented])
  }

  async #read (tokens: readonly string[]): Promise<void> {
    const { name, store } = this.#settings
    for (const presented of tokens) {
      const result = await store.load(presented)
      if ('record' in result) {
        const { data, ...record } = result.record
        this.#stored = { presented, token: result.token, handle: result.handle, record }
        this.#copy = new WorkingCopy(data)
        return
      }
      const { rejected, hash } = result
      publish(rejected === 'corrupt' ? 'corrupt' : 'rejected', { session: name, hash, reason: rejected })
    }
    this.#stored = null
    this.#copy = new WorkingCopy({})
  }

  // What takes effect at commit

  async regenerate (keys?: readonly string[]): Promise<void> {
    const copy = await this.#loadToWrite('regenerate')
    if (keys !== undefined) copy.keepOnly(keys)
    this.#intents = { ...this.#intents, rotate: true }
  }

  async login (principal: string): Promise<void> {
    if (typeof principal !== 'string' || principal === '') {
      throw new TypeError('session.login() takes the principal as a non-empty string')
    }
    await this.#loadToWrite('login')
    this.#intents = { ...this.#intents, rotate: true, login: { principal, at: this.#settings.clock.now() } }
  }

  async remember (seconds: number = this.#settings.rememberFor): Promise<void> {
    if (!Number.isFinite(seconds) || seconds <= 0) {
      throw new TypeError('session.remember() takes a number of seconds greater than 0')
    }
    await this.#loadToWrite('remember')
    // With a new id, so that a slower request that only notes activity cannot cut the longer life short
    // again.
    const rememberedUntil = this.#settings.clock.now() + Math.round(seconds * 1000)
    this.#intents = { ...this.#intents, rotate: true, rememberedUntil }
  }

  async destroy (): Promise<void> {
    await this.#loadToWrite('destroy')
    this.#doomed ??= this.#stored
    this.#stored = null
    this.#intents = noIntents
    this.#copy = new WorkingCopy({})
  }

  async touch (): Promise<void> {
    await this.load()
    this.#intents = { ...this.#intents, touch: true }
  }

  async #loadToWrite (use: string): Promise<WorkingCopy> {
    await this.load()
    await this.#committing?.catch(() => {})
    return this.writable(use)
  }

  // Commit

  /**
   * Carries out what this request has decided so far.
   *
   * @param failed the response is a server error: changes of data are dropped
   */
  async commit (failed = false): Promise<void> {
    const previous = this.#committing
    this.#committing = this.#commitAfter(previous, failed)
    await this.#committing
  }

  /** From here on the session cannot be changed: the response is on its way. */
  close (): void {
    this.#closed = true
  }

  get isClosed (): boolean {
    return this.#closed
  }

  async #commitAfter (previous: Promise<unknown> | undefined, failed: boolean): Promise<void> {
    await previous?.catch(() => {})
    if (this.#copy === undefined) return
    const { copy, login, rotate, touch, rememberedUntil, stored } = this.#known('save')
    const { clock, timeouts } = this.#settings
    const now = clock.now()
    const fate = this.#gone
      ? 'nothing'
      : decide({
        doomed: this.#doomed !== null,
        stored: stored !== null,
        rotating: rotate,
        changed: copy.isModified() || login !== null || rememberedUntil !== null,
        empty: copy.isEmpty() && this.principal === null,
        touchDue: stored !== null &&
          (touch || stored.token !== stored.presented || touchIsDue(now, stored.record, timeouts)),
        failed
      })
    if (fate === 'nothing') return
    const intents = this.#intents
    const batch = copy.begin()
    const job = { settings: this.#settings, copy, batch, intents, stored, doomed: this.#doomed, failed, now }
    try {
      const outcome = await this.#settings.track(carryOut(fate, job))
      copy.settle(batch)
      this.#doomed = null
      if (this.#intents === intents) this.#intents = noIntents
      this.#stored = outcome.stored
      if (outcome.cookie !== undefined) this.#exchange.respond(outcome.cookie)
      if (outcome.gone) {
        this.#gone = true
        this.#copy = new WorkingCopy({})
      }
    } catch (error) {
      copy.restore(batch)
      throw error
    }
  }
}
