import type { Done, ResponseCookieOptions, Session, SessionMembers } from '../../types/session.js'
import type { RequestSession } from './request-session.js'
import { ReservedNameError } from '../errors.js'

type Member = (state: RequestSession, session: Session) => unknown

/**
 * The names that belong to the session itself; all others are the application's. A reserved name cannot be
 * written as a property; `set()` and `get()` take it as a key like any other.
 */
const members: Record<keyof SessionMembers, Member> = {
  load: (state, session) => (fields?: readonly string[]) => state.load(fields).then(() => session),
  part: (state, session) => (name: string) => {
    const part = state.part(name)
    return part === state ? session : sessionProxy(part)
  },

  get: state => (key: string) => state.readable('get').get(key),
  set: state => (key: string, value: unknown) => state.writable('set').set(key, value),
  has: state => (key: string) => state.readable('has').has(key),
  delete: state => (key: string) => state.writable('delete').delete(key),
  clear: state => () => state.writable('clear').clear(),
  keys: state => () => state.readable('keys').keys(),
  data: state => () => state.readable('data').data(),
  toJSON: state => () => state.readable('toJSON').data(),
  update: state => (key: string, change: (value: unknown) => unknown) => {
    return state.writable('update').update(key, change)
  },

  regenerate: state => (keys?: readonly string[] | Done, done?: Done) => {
    return typeof keys === 'function' ? settle(state.regenerate(), keys) : settle(state.regenerate(keys), done)
  },
  login: state => (principal: string) => state.login(principal),
  remember: state => (seconds?: number) => state.remember(seconds),
  destroy: state => (done?: Done) => settle(state.destroy(), done),
  logout: state => (done?: Done) => settle(state.destroy(), done),
  touch: state => (done?: Done) => settle(state.touch(), done),
  reload: state => (done?: Done) => settle(state.reload(), done),
  save: state => (done?: Done) => settle(state.commit(), done),
  options: state => (cookie: ResponseCookieOptions) => state.options(cookie),

  id: state => state.id,
  sessionId: state => state.id,
  isNew: state => state.isNew,
  isModified: state => () => state.isModified(),
  isSaved: state => () => state.isSaved(),
  createdAt: state => state.createdAt,
  expiresAt: state => state.expiresAt,
  authenticatedAt: state => state.authenticatedAt,
  principal: state => state.principal
}

const reserved: ReadonlyMap<PropertyKey, Member> = new Map(Object.entries(members))

/** What a handler holds: fields as properties, and the members. Only data are enumerable. */
export function sessionProxy (state: RequestSession): Session {
  return new Proxy(state, handler) as unknown as Session
}

const handler: ProxyHandler<RequestSession> = {
  get (state, key, session: Session) {
    const member = reserved.get(key)
    if (member !== undefined) return member(state, session)
    if (typeof key === 'symbol') return undefined
    // `await request.session` and returning it from an async function ask for `then`.
    if (key === 'then' && !state.isLoaded) return undefined
    return state.readable(key).get(key)
  },

  set (state, key, value) {
    return put(state, key, value)
  },

  // What follows shows the fields that can be reached as properties, and no others.

  has (state, key) {
    return isField(key) && state.readable(key).has(key)
  },

  deleteProperty (state, key) {
    assertField(key)
    state.writable(key).delete(key)
    return true
  },

  ownKeys (state) {
    return state.readable('keys').keys().filter(isField)
  },

  getOwnPropertyDescriptor (state, key) {
    if (!isField(key)) return undefined
    const data = state.readable(key)
    if (!data.has(key)) return undefined
    return { value: data.get(key), writable: true, enumerable: true, configurable: true }
  },

  defineProperty (state, key, descriptor) {
    return 'value' in descriptor && put(state, key, descriptor.value)
  },

  getPrototypeOf: () => null,
  setPrototypeOf: () => false,
  preventExtensions: () => false
}

function isField (key: PropertyKey): key is string {
  return typeof key === 'string' && !reserved.has(key)
}

function assertField (key: PropertyKey): asserts key is string {
  if (typeof key !== 'string') throw new TypeError('a session takes no symbols as keys')
  if (reserved.has(key)) throw new ReservedNameError(key)
}

function put (state: RequestSession, key: PropertyKey, value: unknown): boolean {
  assertField(key)
  state.writable(key).set(key, value)
  return true
}

/** Answers by promise, or through the callback when there is one. */
function settle (promise: Promise<unknown>, done: Done | undefined): Promise<void> | void {
  if (done === undefined) return promise.then(() => {})
  promise.then(() => done(null), done)
}
