import { inTurn } from '../lib/define-store.js'
import type { InTurn } from '../lib/define-store.js'
import { StoreError } from '../lib/errors.js'

/** What we ask of a store written for express-session. Its answers come by callback, or by promise. */
export interface ExpressStore {
  get (sid: string, done: (error: unknown, session?: unknown) => void): unknown
  set (sid: string, session: object, done: (error?: unknown) => void): unknown
  destroy (sid: string, done: (error?: unknown) => void): unknown
}

type Method = 'get' | 'set' | 'destroy'
type Done = (error?: unknown, answer?: unknown) => void

/** Seconds after which a call counts as lost, so that what waits for its turn goes on. */
const PATIENCE = 10

const methods: readonly Method[] = ['get', 'set', 'destroy']
const turns = new WeakMap<ExpressStore, InTurn>()

export function isExpressStore (value: unknown): boolean {
  return typeof value === 'object' && value !== null &&
    methods.every(method => typeof (value as Record<string, unknown>)[method] === 'function')
}

export function ask (store: ExpressStore, method: 'get', sid: string): Promise<unknown>
export function ask (store: ExpressStore, method: 'set', sid: string, session: object): Promise<unknown>
export function ask (store: ExpressStore, method: 'destroy', sid: string): Promise<unknown>
export function ask (store: ExpressStore, method: Method, ...args: unknown[]): Promise<unknown> {
  let timer: NodeJS.Timeout
  const answer = new Promise((resolve, reject) => {
    const giveUp = () => reject(new StoreError(`no answer to ${method} in ${PATIENCE} s`))
    timer = setTimeout(giveUp, PATIENCE * 1000)
    call(store, method, args, (error, answer) => {
      if (error && !(method === 'get' && saysMissing(error))) reject(error)
      else resolve(answer)
    })
  })
  return answer.finally(() => clearTimeout(timer))
}

/**
 * Several stores return a promise and call back as well. What a method that takes a callback resolves to says
 * nothing, and may come too early.
 */
function call (store: ExpressStore, method: Method, args: unknown[], done: Done): void {
  const run = store[method] as (...args: unknown[]) => unknown
  const returned = run.call(store, ...args, done)
  if (!isThenable(returned)) return
  returned.then(answer => { if (run.length <= args.length) done(null, answer) }, done)
}

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** As express-session has it: where sessions are files, this error tells that there is none. */
function saysMissing (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/** One queue per session, common to all who use the same store object in this process. */
export function turnsOf (store: ExpressStore): InTurn {
  const known = turns.get(store)
  if (known !== undefined) return known
  const queue = inTurn()
  turns.set(store, queue)
  return queue
}
