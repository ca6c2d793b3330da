import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { Client } from '@elastic/elasticsearch'
import { join } from 'node:path'
import { test } from 'tap'
import type { Test } from 'tap'
import { createTable } from '../../stores/dynamodb.js'
import { createIndex } from '../../stores/elasticsearch.js'
import { noDatastore, startDatastore } from '../engines/datastore.js'
import { credentials, noDynamodb, startDynamodb } from '../engines/dynamodb.js'
import { startElasticsearch } from '../engines/elasticsearch.js'
import { noFirestore, startFirestore } from '../engines/firestore.js'
import { noMariadb, startMariadb } from '../engines/mariadb.js'
import { noMemcached, startMemcached } from '../engines/memcached.js'
import { noMongodb, startMongodb } from '../engines/mongodb.js'
import { noPostgres, startPostgres } from '../engines/postgres.js'
import { noRedis, startRedis } from '../engines/redis.js'
import { fourProcesses } from '../helpers/processes.js'
import { userProcesses } from '../helpers/user-processes.js'
import type { StoreData } from '../helpers/worker-app.js'
import { isLong, onlyLong } from './size.js'

/** Where the short form, which the stories of each store contain, is multiplied. */
interface Case {
  skip: string | false
  start (t: Test): Promise<StoreData>
  /** Whether the store lists the sessions of a user, so that `maxPerUser` is exact. */
  users?: boolean
  /** It lists a user by reading all sessions: the logins of one get another one, and fewer rounds. */
  reads?: boolean
  /** An emulator that takes long for each write. */
  slow?: boolean
}

const cases: Record<string, Case> = {
  file: {
    skip: false,
    start: async t => ({ type: 'file', directory: t.testdir() }),
    users: true,
    reads: true
  },
  sqlite: {
    skip: false,
    start: async t => ({ type: 'sql', dialect: 'sqlite', filename: join(t.testdir(), 'db'), createTable: true }),
    users: true
  },
  redis: {
    skip: noRedis,
    start: async t => ({ type: 'redis', url: (await startRedis(t)).url }),
    users: true
  },
  memcached: {
    skip: noMemcached,
    start: async t => ({ type: 'memcached', servers: [(await startMemcached(t)).url] })
  },
  postgres: {
    skip: noPostgres,
    start: async t => ({ type: 'sql', dialect: 'postgres', url: (await startPostgres(t)).url, createTable: true }),
    users: true
  },
  mariadb: {
    skip: noMariadb,
    start: async t => ({ type: 'sql', dialect: 'mysql', url: (await startMariadb(t)).url, createTable: true }),
    users: true
  },
  mongodb: {
    skip: noMongodb,
    start: async t => ({ type: 'mongodb', url: (await startMongodb(t)).url, database: 'endurance' }),
    users: true
  },
  'elasticsearch (a fake)': {
    skip: false,
    async start (t) {
      const { url: node } = await startElasticsearch(t)
      const client = new Client({ node })
      await createIndex(client)
      await client.close()
      return { type: 'elasticsearch', node }
    }
  },
  dynamodb: {
    skip: noDynamodb,
    async start (t) {
      const options = { endpoint: (await startDynamodb(t)).url, region: 'local', credentials }
      const client = new DynamoDBClient(options)
      await createTable(client, { table: 'endurance' })
      client.destroy()
      return { type: 'dynamodb', ...options, table: 'endurance' }
    },
    slow: true
  },
  firestore: {
    skip: noFirestore,
    async start (t) {
      await startFirestore(t)
      return { type: 'firestore', projectId: `endurance-${process.pid}` }
    },
    slow: true
  },
  datastore: {
    skip: noDatastore,
    async start (t) {
      await startDatastore(t)
      return { type: 'datastore', projectId: `endurance-${process.pid}` }
    },
    slow: true
  }
}

for (const [name, { skip, start, users, reads, slow }] of Object.entries(cases)) {
  test(`${name}: four processes, for long`, { skip: skip || onlyLong }, async t => {
    const data = await start(t)
    const share = isLong && !slow ? 1 : 0.1
    const how = { test: t.test, name, store: () => data }
    fourProcesses({ ...how, counts: 10_000 * share, rounds: 1000 * share })
    const logins = reads ? { store: () => start(t), rounds: 50 } : { rounds: 200 * share }
    if (users) userProcesses({ ...how, ...logins })
  })
}
