import { test } from 'tap'
import { inTurn } from '../lib/base/turns.js'
import { signal } from './helpers/pause.js'

test('works of one name run one after another, in the order of the calls, failures or not', async t => {
  const queue = inTurn()
  const log: string[] = []
  const first = signal()
  const step = (name: string) => async () => {
    log.push(`${name} begins`)
    if (name !== 'a1') return log.push(`${name} ends`)
    await first.given
    throw new Error('a1')
  }
  const works = Promise.allSettled([
    queue('a', step('a1')), queue('a', step('a2')), queue('a', step('a3')), queue('b', step('b'))
  ])
  await queue('b', async () => {})
  t.strictSame(log, ['a1 begins', 'b begins', 'b ends'])
  first.give()
  t.strictSame((await works).map(({ status }) => status), ['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
  t.strictSame(log.slice(3), ['a2 begins', 'a2 ends', 'a3 begins', 'a3 ends'])
  t.equal(await queue('a', async () => 'again'), 'again')
})
