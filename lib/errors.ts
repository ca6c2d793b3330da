import createError from '@fastify/error'

/**
 * Every error this package throws, one class per code. Texts name options, keys and sizes; they never carry
 * an id, a secret or session data. A cause is kept in `cause`.
 */

/** Last argument of an error that keeps what led to it. */
interface Cause { cause: unknown }

/** An option is wrong, unknown or missing. Thrown at boot. */
export const OptionError = createError<[string]>('FST_SESSIONS_OPTION', '%s', 500, TypeError)
/** A store's driver is not installed. Thrown at boot. */
export const DriverError = createError<[string, string, Cause?]>('FST_SESSIONS_DRIVER',
  'the %s store needs a package that is not installed; run: npm install %s', 500)
/** Data were used before `await request.session.load()`. */
export const NotLoadedError = createError<[string]>('FST_SESSIONS_NOT_LOADED',
  "the session was not loaded before '%s' was used; call await request.session.load() first, or set load: 'eager'", 500)
/** A property was written or deleted whose name belongs to the session itself. */
export const ReservedNameError = createError<[string]>('FST_SESSIONS_RESERVED_NAME',
  "'%s' is a name of the session itself; use session.get(), set() and delete() for a value of that name", 500, TypeError)
/** A field was written through `session.part()` that belongs to another session. */
export const ForeignFieldError = createError<[string, string]>('FST_SESSIONS_FOREIGN_FIELD',
  "the field '%s' belongs to the session '%s'; write it there, or through request.session", 500, TypeError)
/** A value that the codec cannot carry. */
export const ValueError = createError<[string, string, Cause?]>('FST_SESSIONS_VALUE',
  'the session cannot carry %s: it is %s', 500, TypeError)
/** The data do not fit the option `schema`. */
export const SchemaError = createError<[string, string]>('FST_SESSIONS_SCHEMA',
  'the session does not fit its schema: %s: %s', 500, TypeError)
/** The encoded session is larger than `maxSize`. */
export const TooLargeError = createError<[number, number]>('FST_SESSIONS_TOO_LARGE',
  'the session takes %d bytes, more than the %d that are allowed; see the option maxSize', 500, RangeError)
/** The Set-Cookie pair is larger than a browser keeps (RFC 6265bis, 5.6: 4096 bytes for name and value). */
export const CookieTooLargeError = createError<[string, number]>('FST_SESSIONS_COOKIE_TOO_LARGE',
  "the cookie of session '%s' takes %d bytes, more than the 4096 that browsers keep", 500, RangeError)
/** The store did not do what it was asked; `cause` tells what the driver said. */
export const StoreError = createError<[string, Cause?]>('FST_SESSIONS_STORE',
  'the session store failed: %s', 503)
/** A commit, or a removal of all sessions of a user, kept losing against others. */
export const ConflictError = createError<[string]>('FST_SESSIONS_CONFLICT', '%s', 503)
/** A `login()` or `remember()` of a session that another request has ended or given a new id. */
export const GoneError = createError<[]>('FST_SESSIONS_GONE',
  'the session was ended or got another id while this request ran; nothing of this request was saved', 409)
/** `maxPerUser` is reached, with `onMaxPerUser: 'refuse'`. */
export const TooManyError = createError<[]>('FST_SESSIONS_TOO_MANY',
  'the user is logged in as often as the option maxPerUser allows; another session has to end first', 409)
/** `requireFresh()`: the login is too long ago, or there was none. */
export const NotFreshError = createError<[]>('FST_SESSIONS_NOT_FRESH', 'this needs a recent login; log in again', 401)
/** The store cannot do what was asked of `app.sessions`. */
export const AbilityError = createError<[string, string]>('FST_SESSIONS_ABILITY',
  'the %s store cannot %s', 500)
/** A session of `fromCookie()` was to get an id. */
export const DetachedError = createError<[]>('FST_SESSIONS_DETACHED',
  'a session of fromCookie() has no response that could set a cookie: ' +
  'it can be read, changed and destroyed, not begun, and gets no new id', 500)
/** A stored record cannot be decoded, with `onCorrupt: 'throw'`. */
export const CorruptError = createError<[]>('FST_SESSIONS_CORRUPT', 'the stored session cannot be read', 500)
/** The session was changed after the response was committed. */
export const HeadersSentError = createError<[]>('FST_SESSIONS_HEADERS_SENT',
  'the session was changed after the response was on its way; change it earlier, or call session.save() before', 500)
/** The session was changed on a route with `config: { session: false }`. */
export const DisabledError = createError<[]>('FST_SESSIONS_DISABLED',
  'this route opted out of sessions (config.session is false); remove that to change the session here', 500)
/** The session was changed on a route with `config: { session: { readOnly: true } }`. */
export const ReadOnlyError = createError<[]>('FST_SESSIONS_READ_ONLY',
  'this route only reads the session (config.session.readOnly); remove that to change the session here', 500)
/** The session was changed, and the store is the null store. */
export const NoStoreError = createError<[]>('FST_SESSIONS_NO_STORE',
  "no session store is configured (store: { type: 'null' }); set the option store to keep sessions", 500)
/** `generateId` returned something unusable, or the same id again and again. */
export const IdError = createError<[string]>('FST_SESSIONS_ID', 'generateId %s', 500)

export function isSessionsError (error: unknown): error is Error & { code: string } {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('FST_SESSIONS_')
}

/** Characters that are kept of what a driver said. */
const TEXT = 200

/**
 * What a driver said, without what drivers like to attach (commands, parameters, rows). Of the text the first
 * line, cut where data would begin: stored sessions are JSON objects, and drivers quote commands as such.
 *
 * @param key masked wherever the text has it
 */
export function driverCause (error: unknown, key: string | null = null): Error {
  if (!(error instanceof Error)) return new Error('something that is not an Error was thrown')
  const cause = new Error(discreet(textOf(error), key))
  cause.name = error.name
  cause.stack = [`${cause.name}: ${cause.message}`, ...framesOf(error)].join('\n')
  return 'code' in error ? Object.assign(cause, { code: error.code }) : cause
}

function discreet (text: string, key: string | null): string {
  const masked = key === null ? text : text.replaceAll(key, '[key]')
  const [said] = masked.split(/[\r\n{]/, 1)
  return said.length < masked.length || said.length > TEXT ? `${said.slice(0, TEXT)}...` : said
}

/** The places of a stack, without the text that it begins with. */
function framesOf ({ message, stack = '' }: Error): string[] {
  return stack.replace(message, '').split('\n').filter(line => /^ {4}at /.test(line))
}

/** A refused connection to a name with several addresses has no text of its own. */
function textOf (error: Error): string {
  if (error.message !== '' || !(error instanceof AggregateError)) return error.message
  return error.errors.map(inner => driverCause(inner).message).join('; ')
}
