import { test } from 'tap'
import { isPending, whenThere } from '../lib/base/awaitable.js'

const failing = () => { throw new Error('failed') }

test('what has to be waited for is told by its then', async t => {
  const foreign = { then (resolve: (value: number) => void) { resolve(1) } }
  for (const late of [Promise.resolve(), foreign]) t.ok(isPending(late as unknown))
  for (const there of [undefined, null, 0, '', 'ok', true, {}, { value: 'then' }, () => {}]) t.notOk(isPending(there))
})

test('an answer that is there is used at once, another one when it comes', async t => {
  t.equal(whenThere(1, value => value + 1), 2)
  const late = whenThere(Promise.resolve(1), value => value + 1)
  t.match(late, Promise)
  t.equal(await late, 2)
  t.throws(() => whenThere(1, failing), { message: 'failed' })
  await t.rejects(async () => whenThere(Promise.resolve(1), failing), { message: 'failed' })
})

test('what the then of a foreign promise returns is not relied upon', async t => {
  const resolving = {
    then (resolve: (value: number) => void) { setImmediate(resolve, 1) }
  } as unknown as Promise<number>
  const rejecting = {
    then (_resolve: unknown, reject: (error: Error) => void) { setImmediate(reject, new Error('failed')) }
  } as unknown as Promise<number>
  t.equal(await whenThere(resolving, value => value + 1), 2)
  await t.rejects(async () => whenThere(rejecting, value => value + 1), { message: 'failed' })
})
