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
 * @param next makes the result of the answer
 * @param failure what to reject with, made of what the call threw, or rejected with, or of the limit's own
 * error
 */
export type TimeLimit = <T, R>(
  call: () => Awaitable<T>, next: (answer: T) => R, failure: (error: unknown) => unknown
) => Awaitable<R>

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

  function limited<T, R> (
    answer: Promise<T>, next: (answer: T) => R, failure: (error: unknown) => unknown
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      /** What cannot be told either is the failure then. */
      const settle = (result: () => void) => {
        try {
          result()
        } catch (error) {
          reject(error)
        }
      }
      const fail = (error: unknown) => settle(() => reject(failure(error)))
      const waiting = new Waiting(performance.now() + seconds * 1000, fail)
      enter(waiting)
      answer.then(value => {
        if (leave(waiting)) settle(() => resolve(next(value)))
      }, error => {
        if (leave(waiting)) fail(error)
      })
    })
  }

  return (call, next, failure) => {
    let answer
    try {
      answer = call()
    } catch (error) {
      answer = Promise.reject(error)
    }
    return isPending(answer) ? limited(Promise.resolve(answer), next, failure) : next(answer)
  }
}
