import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { sqlStore } from '../../stores/sql.js'
import type { Database } from '../../stores/sql-database.js'
import { fill, index, newKey, onEachDialect, openOn, recordFor, someWait } from './sql-dialects.js'

/** SWEEP_ROWS=1000000 runs it with a million. */
const rows = Number(process.env.SWEEP_ROWS ?? 20_000)

onEachDialect(`${rows} expired records are swept in batches beside a writer, who loses none`, async (t, { connect, options }) => {
  const db = connect()
  const clock = new TestClock()
  const sweeper = await openOn(t, db, clock)
  const { backend: writer, close } = await openBackend(sqlStore(options), { clock })
  t.teardown(close)
  await fill(db, rows, i => ({ principal: `user ${i % 50}`, expires_at: clock.now() - 1 - i }))
  const kept = Array.from({ length: 100 }, newKey)
  for (const key of kept) await writer.create(key, recordFor(60, clock), index)

  const swept = new AbortController()
  let slowest = 0
  async function write () {
    let round = 0
    for (; !swept.signal.aborted; round++) {
      const begun = performance.now()
      const key = kept[round % kept.length]
      const { version } = (await writer.read(key))!
      if (await writer.update(key, recordFor(60, clock), index, version) !== 'ok') return 'lost an update'
      if (!await writer.touch(key, clock.now() + 90_000)) return 'lost a touch'
      slowest = Math.max(slowest, performance.now() - begun)
    }
    return round > 0
  }

  async function sweep () {
    const removed = []
    do removed.push(await sweeper.sweep!(clock.now(), 1500)); while (removed.at(-1) === 1500)
    swept.abort()
    return removed
  }

  const [removed, written] = await Promise.all([sweep(), write()])
  t.equal(removed.reduce((sum, one) => sum + one), rows)
  t.equal(removed.length, Math.floor(rows / 1500) + 1)
  t.equal(written, true)
  t.comment(`the slowest read, update and touch of the writer took ${slowest.toFixed()} ms`)
  t.equal(await sweeper.count!(), 100)
})

onEachDialect('several sweep at once: each record counts once', async (t, { connect, options }) => {
  const db = connect()
  const clock = new TestClock()
  const one = await openOn(t, db, clock)
  const { backend: two, close } = await openBackend(sqlStore(options), { clock })
  t.teardown(close)
  await fill(db, 3000, () => ({ principal: null, expires_at: clock.now() }))
  const removed = await Promise.all([one, two, one, two].map(backend => backend.sweep!(clock.now(), 2000)))
  t.equal(removed.reduce((sum, count) => sum + count), 3000)
})

onEachDialect('what is touched between picking and deleting is not swept', async (t, { dialect, connect }) => {
  const db = connect()
  const clock = new TestClock()
  const touchYoung = async (own: Database) => {
    await own.updateTable('sessions').set({ expires_at: clock.now() + 90_000 }).where('key', '=', 'young').execute()
  }
  let touched: Promise<void> | undefined
  const backend = await openOn(t, connect({
    log (statement) {
      // This is called in the middle of the sweep; on SQLite the touch is done when it returns.
      if (dialect === 'sqlite' && statement.startsWith('select "key"')) touched ??= touchYoung(db)
    }
  }), clock)
  await touchYoung(db)
  await backend.create('old', recordFor(-1, clock), index)
  await backend.create('young', recordFor(60, clock), index)
  const sweep = () => backend.sweep!(clock.now() + 61_000, 10)

  if (dialect === 'sqlite') {
    t.equal(await sweep(), 1)
  } else {
    const sweeping = await db.transaction().execute(async transaction => {
      await touchYoung(transaction)
      const begun = sweep()
      await someWait(1, db, dialect)
      return [begun]
    })
    t.equal(await sweeping[0], 1)
  }
  await touched
  t.not(await backend.read('young'), null)
})
