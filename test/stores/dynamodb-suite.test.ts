import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { test } from 'tap'
import { testBackend } from '../../lib/testing/index.js'
import { createTable, dynamodbStore } from '../../stores/dynamodb.js'
import { credentials, noDynamodb, startDynamodb } from '../engines/dynamodb.js'
import { httpStories } from '../helpers/http-stories.js'
import { fourProcesses } from '../helpers/processes.js'

test('the suite', { skip: noDynamodb, timeout: 300_000 }, async t => {
  const { url, control } = await startDynamodb(t)
  const options = { endpoint: url, region: 'local', credentials }
  const table = `sessions-${process.pid}-${Date.now()}`
  const client = new DynamoDBClient(options)
  t.teardown(() => client.destroy())
  await createTable(client, { table })
  const store = (space: string) => dynamodbStore({ ...options, table, prefix: space })
  testBackend({
    test: t.test,
    store,
    abilities: ['keysOf', 'removeAllOf', 'count', 'ping'],
    maxValue: 400_000,
    engine: control && {
      ...control,
      async start () {
        await control.start()
        await createTable(client, { table })
      }
    }
  })
  for (const cookie of ['plain', 'signed'] as const) httpStories({ test: t.test, name: 'dynamodb', store, cookie })
  fourProcesses({
    test: t.test, name: 'dynamodb', store: () => ({ type: 'dynamodb', ...options, table, prefix: 'four:' })
  })
})
