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

/** Like `withinTime`, with the same limit for each call. */
export type TimeLimit = <T>(call: () => Promise<T>) => Promise<T>

interface Waiting {
  readonly deadline: number
  readonly reject: (error: Error) => void
}

/**
 * A limit for calls that are many and short: they share one timer, since one for each would cost more than
 * what a fast store does.
 *
 * @param seconds how long each call may take
 */
export function createTimeLimit (seconds: number): TimeLimit {
  /** In the order of their deadlines, for all may take equally long. */
  const line = new Set<Waiting>()
  /** For the first in line; when that one has left meanwhile, it goes on to wait for the next. */
  let timer: NodeJS.Timeout | undefined

  function enter (reject: Waiting['reject']): Waiting {
    const waiting = { deadline: performance.now() + seconds * 1000, reject }
    line.add(waiting)
    if (timer === undefined) timer = setTimeout(expire, seconds * 1000)
    else if (line.size === 1) timer.ref()
    return waiting
  }

  function leave (waiting: Waiting): void {
    line.delete(waiting)
    // With nobody in line it must not keep the process alive.
    if (line.size === 0) timer?.unref()
  }

  function expire (): void {
    timer = undefined
    for (const waiting of line) {
      const remaining = waiting.deadline - performance.now()
      if (remaining > 0) {
        timer = setTimeout(expire, remaining)
        return
      }
      line.delete(waiting)
      waiting.reject(new Error(`no answer in ${seconds} s`))
    }
  }

  return call => new Promise((resolve, reject) => {
    const running = call()
    const waiting = enter(reject)
    const leaving = <V>(settle: (value: V) => void) => (value: V) => {
      leave(waiting)
      settle(value)
    }
    running.then(leaving(resolve), leaving(reject))
  })
}
