import type { Clock } from '../../lib/base/clock.js'
import type { Prompt, SessionBackend } from '../../types/store.js'
import { memoryStore } from '../../stores/memory.js'
import { openBackend } from '../../lib/testing/open-store.js'

type Verb = 'read' | 'create' | 'update' | 'touch' | 'remove'
const verbs: readonly Verb[] = ['read', 'create', 'update', 'touch', 'remove']

/** A real memory backend, to be handed to `{ type: 'custom', backend }`. */
export async function memoryBackend (clock?: Clock): Promise<SessionBackend> {
  return (await openBackend(memoryStore(), { clock })).backend
}

export interface CountingBackend extends SessionBackend {
  /** The verbs called since the last `calls.length = 0`, in order. */
  readonly calls: Verb[]
}

/** Passes every call on, and notes it. */
export function counting (backend: SessionBackend): CountingBackend {
  const calls: Verb[] = []
  return Object.assign(around(backend, (verb, call) => {
    calls.push(verb)
    return call()
  }), { calls })
}

/** A call that waits to be let through. */
export interface HeldCall {
  readonly verb: Verb
  /** Lets the call reach the backend; resolves when it is done. */
  release (): Promise<void>
  /** Makes the call reject; the backend does not see it. */
  fail (error: Error): void
}

export interface GatedBackend extends SessionBackend {
  /** Which verbs are held. Empty at first: all pass. */
  readonly held: Set<Verb>
  /** The next held call that has arrived or arrives. */
  next (verb?: Verb): Promise<HeldCall>
}

/** A backend whose calls the test releases one by one. */
export function gated (backend: SessionBackend): GatedBackend {
  const held = new Set<Verb>()
  const arrived: HeldCall[] = []
  let notify = () => {}
  const gate = around(backend, (verb, call) => {
    if (!held.has(verb)) return call()
    return new Promise((resolve, reject) => {
      arrived.push({
        verb,
        async release () {
          const done = call()
          done.then(resolve, reject)
          await done.catch(() => {})
        },
        fail: reject
      })
      notify()
    })
  })
  return Object.assign(gate, {
    held,
    async next (verb?: Verb) {
      for (;;) {
        const index = arrived.findIndex(call => verb === undefined || call.verb === verb)
        if (index >= 0) return arrived.splice(index, 1)[0]
        await new Promise<void>(resolve => { notify = resolve })
      }
    }
  })
}

/** A backend with `pass` around each call. */
export function around (
  backend: Prompt<SessionBackend>, pass: <T>(verb: Verb, call: () => Promise<T>) => Promise<T>
): SessionBackend {
  const wrapped = { ...backend as SessionBackend }
  for (const verb of verbs) {
    const inner = backend[verb] as (...args: unknown[]) => unknown
    const passed = (...args: unknown[]) => pass(verb, async () => inner.apply(backend, args))
    Object.assign(wrapped, { [verb]: passed })
  }
  return wrapped
}
