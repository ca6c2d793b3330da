import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import { systemClock } from '../../lib/base/clock.js'
import type { StorePlugin } from '../../lib/define-store.js'
import { Resource, connectionKey } from '../../lib/base/resource.js'
import { newKey } from '../../lib/testing/backend-lab.js'
import type { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import type { RecordIndex, SessionBackend, StoredRecord } from '../../types/store.js'
import type { EngineControl } from '../engines/engine.js'

/** What the own tests of the stores have in common. */

export const nobody: RecordIndex = { principal: null, createdAt: 1 }
export const ada: RecordIndex = { principal: 'ada', createdAt: 1 }

/** What stands for a principal where an engine indexes it. */
export function hashOf (principal: string): string {
  return createHash('sha256').update(JSON.stringify(principal)).digest('hex')
}

export function record (version: string, expiresAt = Date.now() + 60_000): StoredRecord {
  return { value: `v${version}`, version, expiresAt }
}

type Factory<Options> = (options?: Options) => StorePlugin

/** What opens a store until the end of the test. */
export function opener<Options> (factory: Factory<Options>) {
  return async (t: Test, options?: Options, clock?: TestClock, namespace?: string) => {
    const { backend, close } = await openBackend(factory(options), { clock, namespace })
    t.teardown(close)
    return backend
  }
}

/** The error of something that must fail. */
export async function failure (work: () => unknown): Promise<Error> {
  try {
    await work()
  } catch (error) {
    assert(error instanceof Error)
    return error
  }
  throw new Error('it did not fail')
}

/** Each is refused as a wrong option, with this message and without the text 'hunter2'. */
export async function refuses<Options> (
  t: Test, factory: Factory<Options>, wrong: Array<[options: object, message: RegExp | string]>
): Promise<void> {
  for (const [options, message] of wrong) {
    const error = await failure(() => openBackend(factory(options as Options)))
    t.match(error, { code: 'FST_SESSIONS_OPTION' })
    t.match(error.message, message)
    t.notMatch(inspect(error), 'hunter2')
  }
}

/** Equal for stores that share a connection; empty for one that opens none. */
export async function connectionOf (plugin: StorePlugin): Promise<string> {
  const keys: string[] = []
  await plugin({ addHook () {} } as never, {
    context: {
      name: 'session',
      namespace: '',
      clock: systemClock,
      log: console,
      sealedRecords () { throw new Error('not asked for') },
      connect (type, options, open, close) {
        keys.push(connectionKey(type, options))
        return new Resource(open, close)
      }
    },
    drained: async () => {},
    opened: () => {}
  })
  return keys.join()
}

/** Every verb, with a value that contains 'secret'. */
export function verbs (backend: SessionBackend, key: string): Array<() => Promise<unknown>> {
  return [
    () => backend.read(key),
    () => backend.create(key, record('secret'), ada),
    () => backend.update(key, record('secret'), ada, '1'),
    () => backend.touch(key, Date.now() + 1000),
    () => backend.remove(key),
    () => backend.remove(key, '1'),
    () => backend.keysOf!('ada')[Symbol.asyncIterator]().next(),
    () => backend.removeAllOf!('ada'),
    ...backend.sweep === undefined ? [] : [() => backend.sweep!(Date.now(), 10)],
    () => backend.count!(),
    () => backend.ping!()
  ]
}

/**
 * Pauses and kills an engine: every verb rejects, soon enough for the session to tell it, without the key and
 * the value.
 */
export async function failsInTime (
  t: Test, backend: SessionBackend, control: EngineControl, message: RegExp, limit = 5500
): Promise<void> {
  await backend.ping!()
  for (const [end, again] of [[control.pause, control.resume], [control.kill, control.start]] as const) {
    await end()
    const key = newKey()
    const begun = performance.now()
    const failures = await Promise.all(verbs(backend, key).map(failure))
    const took = performance.now() - begun
    t.ok(took < limit, `${took} ms`)
    for (const error of failures) {
      t.match(error.message, message)
      const shown = inspect(error, { showHidden: true, depth: 10 })
      for (const secret of [key, 'vsecret']) t.notOk(shown.includes(secret))
    }
    await again()
  }
}

/** A driver may send a write again when the answer was lost: it does not conflict with itself. */
export async function isOneWriteWhenSentTwice (t: Test, backend: SessionBackend): Promise<void> {
  const key = newKey()
  t.equal(await backend.create(key, record('1'), nobody), true)
  t.equal(await backend.create(key, record('1'), nobody), true)
  t.equal(await backend.update(key, record('2'), nobody, '1'), 'ok')
  t.equal(await backend.update(key, record('2'), nobody, '1'), 'ok')
  t.equal(await backend.create(key, record('1'), nobody), false)
  t.equal(await backend.update(key, record('3'), nobody, '1'), 'conflict')
  t.equal((await backend.read(key))?.value, 'v2')
}
