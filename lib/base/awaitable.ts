import type { Awaitable } from '../../types/store.js'

/**
 * Whether it has to be waited for, which costs more than what a store in memory does. It may be a promise of
 * another make: what its `then` returns is not relied upon.
 */
export function isPending<T> (answer: Awaitable<T>): answer is Promise<T> {
  return ((typeof answer === 'object' && answer !== null) || typeof answer === 'function') && 'then' in answer
}

/** What `next` makes of an answer: at once where that is there, else when it comes. */
export function whenThere<T, R> (answer: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return isPending(answer) ? Promise.resolve(answer).then(next) : next(answer)
}
