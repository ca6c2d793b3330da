import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { Client } from '@elastic/elasticsearch'
import { test } from 'tap'
import type { Test } from 'tap'
import type { StorePlugin } from '../../lib/define-store.js'
import { datastoreStore } from '../../stores/datastore.js'
import { createTable, dynamodbStore } from '../../stores/dynamodb.js'
import { createIndex, elasticsearchStore } from '../../stores/elasticsearch.js'
import { firestoreStore } from '../../stores/firestore.js'
import { memcachedStore } from '../../stores/memcached.js'
import { mongodbStore } from '../../stores/mongodb.js'
import { redisStore } from '../../stores/redis.js'
import { sqlStore } from '../../stores/sql.js'
import { noOwnDatastore, startOwnDatastore } from '../engines/datastore.js'
import { credentials, noOwnDynamodb, startOwnDynamodb } from '../engines/dynamodb.js'
import { startFake } from '../engines/elasticsearch-fake.js'
import type { Engine, EngineControl } from '../engines/engine.js'
import { noOwnFirestore, startOwnFirestore } from '../engines/firestore.js'
import { noMariadb, startMariadb } from '../engines/mariadb.js'
import { noOwnMemcached, startOwnMemcached } from '../engines/memcached.js'
import { noMongodb, startMongodb } from '../engines/mongodb.js'
import { noPostgres, startPostgres } from '../engines/postgres.js'
import { noOwnRedis, startOwnRedis } from '../engines/redis.js'
import { outages } from './outage.js'
import { onlyLong, size } from './size.js'

const requests = size(400, 10_000)
const rounds = size(1, 4)

interface Case {
  skip: string | false
  start (t: Test): Promise<Engine>
  store (url: string): StorePlugin
  /** Default: it forgets all. */
  keeps?: boolean
  /** Default: none. */
  late?: number
}

const cases: Record<string, Case> = {
  redis: { skip: noOwnRedis, start: startOwnRedis, store: url => redisStore({ url }) },
  memcached: {
    skip: noOwnMemcached || onlyLong,
    start: startOwnMemcached,
    store: url => memcachedStore({ servers: [url] })
  },
  postgres: {
    skip: noPostgres,
    start: startPostgres,
    store: url => sqlStore({ dialect: 'postgres', url, createTable: true }),
    keeps: true
  },
  mariadb: {
    skip: noMariadb || onlyLong,
    start: startMariadb,
    store: url => sqlStore({ dialect: 'mysql', url, createTable: true }),
    keeps: true
  },
  mongodb: {
    skip: noMongodb || onlyLong,
    start: startMongodb,
    store: url => mongodbStore({ url, database: 'outage' }),
    // One may join a search for the server that began two seconds ago, and ends just before it is found.
    late: 1
  },
  'elasticsearch (a fake)': {
    skip: onlyLong,
    start: startFakeWithIndex,
    store: url => elasticsearchStore({ node: url }),
    keeps: true
  },
  dynamodb: {
    skip: noOwnDynamodb || onlyLong,
    start: startDynamodbWithTable,
    store: endpoint => dynamodbStore({ endpoint, region: 'local', credentials, table: 'sessions' })
  },
  firestore: {
    skip: noOwnFirestore || onlyLong,
    start: startOwnFirestore,
    store: () => firestoreStore({ projectId: 'outage' })
  },
  datastore: {
    skip: noOwnDatastore || onlyLong,
    start: startOwnDatastore,
    store: () => datastoreStore({ projectId: 'outage' })
  }
}

for (const [name, { skip, start, store, keeps = false, late = 0 }] of Object.entries(cases)) {
  test(`${name} is paused, killed and restarted under load`, { skip }, async t => {
    const { url, control } = await start(t)
    if (control === undefined) return t.pass('not ours to stop')
    await outages(t, { store: store(url), control, keeps, requests, rounds, late })
  })
}

async function startFakeWithIndex (t: Test): Promise<Engine> {
  const engine = await startFake(t)
  const client = new Client({ node: engine.url })
  await createIndex(client)
  await client.close()
  return engine
}

/** Its tables are gone when it has been stopped. */
async function startDynamodbWithTable (t: Test): Promise<Engine> {
  const { control, ...engine } = await startOwnDynamodb(t)
  const client = new DynamoDBClient({ endpoint: engine.url, region: 'local', credentials })
  t.teardown(() => client.destroy())
  const fill = async () => { await createTable(client, { table: 'sessions' }) }
  const start: EngineControl['start'] = async () => {
    await control.start()
    await fill()
  }
  await fill()
  return { ...engine, control: { ...control, start } }
}
