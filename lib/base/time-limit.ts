import type { Awaitable } from '../../types/store.js'
import { isPending } from './awaitable.js'
import { Place } from './line.js'

/**
 * What `call` resolves to, if it does so in time. It goes on when it does not; what becomes of it is
 * ignored.
 *
 * @param seconds how long to wait before rejecting
 */
export async function withinTime<T> (seconds: number, call: () => Promise<T>): Promise<T> {
  let timer
  try {
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer in ${seconds} s`)), seconds * 1000)
    })
    return await Promise.race([call(), limit])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Like `withinTime`, with the same limit for each call, and without a promise for what is answered at once.
 *
 * @param failure what to reject with, made of what the call threw, or rejected with, or of the limit's own
 * error
 */
export type TimeLimit = <T>(call: () => Awaitable<T>, failure?: (error: unknown) => unknown) => Awaitable<T>

class Waiting extends Place {
  readonly deadline: number
  readonly fail: (error: unknown) => void

  constructor (deadline: number, fail: (error: unknown) => void) {
    super()
    this.deadline = deadline
    this.fail = fail
  }
}

/**
 * A limit for calls that are many and short: they share one timer, since one for each would cost more than
 * what a fast store does.
 *
 * @param seconds how long each call may take
 */
export function createTimeLimit (seconds: number): TimeLimit {
  /** All wait equally long, so that they stand in the order of their deadlines. */
  const end = new Waiting(Infinity, () => {})
  /** For the first in line; when that one has left meanwhile, it goes on to wait for the next. */
  let timer: NodeJS.Timeout | undefined

  function enter (waiting: Waiting): void {
    if (timer === undefined) timer = setTimeout(expire, seconds * 1000)
    else if (end.after === end) timer.ref()
    waiting.stand(end)
  }

  /** False: its time was over. */
  function leave (waiting: Waiting): boolean {
    if (!waiting.leave()) return false
    // With nobody in line it must not keep the process alive.
    if (end.after === end) timer?.unref()
    return true
  }

  function expire (): void {
    while (end.after !== end) {
      const waiting = end.after
      const remaining = waiting.deadline - performance.now()
      if (remaining > 0) {
        timer = setTimeout(expire, remaining)
        return
      }
      waiting.leave()
      waiting.fail(new Error(`no answer in ${seconds} s`))
    }
    timer = undefined
  }

  /** @param late the call that is waited for */
  function limited<T> (late: Promise<T>, failure: (error: unknown) => unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        try {
          reject(failure(error))
        } catch (error) {
          reject(error)
        }
      }
      const waiting = new Waiting(performance.now() + seconds * 1000, fail)
      enter(waiting)
      late.then(value => {
        if (leave(waiting)) resolve(value)
      }, error => {
        if (leave(waiting)) fail(error)
      })
    })
  }

  return (call, failure = error => error) => {
    try {
      const answer = call()
      return isPending(answer) ? limited(answer, failure) : answer
    } catch (error) {
      return limited(Promise.reject(error), failure)
    }
  }
}
