import { join } from 'node:path'
import { test } from 'tap'
import { testBackend } from '../../lib/testing/backend-suite.js'
import { sqlStore } from '../../stores/sql.js'
import { noMariadb, startMariadb } from '../engines/mariadb.js'
import { noPostgres, startPostgres } from '../engines/postgres.js'

const abilities = ['keysOf', 'removeAllOf', 'sweep', 'count', 'ping'] as const

test('SQLite keeps the contract', async t => {
  const filename = join(t.testdir(), 'sessions.db')
  testBackend({
    test: (name, run) => t.test(name, run),
    store: space => sqlStore({ dialect: 'sqlite', filename, table: space, createTable: true }),
    abilities
  })
})

// Small pools: a case opens many stores, and a server ends its connections in its own time.
for (const [dialect, pool, skip, start] of [
  ['postgres', { max: 3 }, noPostgres, startPostgres],
  ['mysql', { connectionLimit: 3 }, noMariadb, startMariadb]
] as const) {
  test(`${dialect} keeps the contract`, { skip }, async t => {
    const { url, control } = await start(t)
    testBackend({
      test: (name, run) => t.test(name, run),
      store: space => sqlStore({ dialect, url, pool, table: space, createTable: true }),
      abilities,
      engine: control && {
        stop: control.kill,
        start: control.start,
        pause: async () => control.pause(),
        resume: async () => control.resume()
      }
    })
  })
}
