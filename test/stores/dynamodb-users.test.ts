import { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { test } from 'tap'
import { createTable, dynamodbStore } from '../../stores/dynamodb.js'
import { credentials, noDynamodb, startDynamodb } from '../engines/dynamodb.js'
import { userStories } from '../helpers/user-stories.js'

test('users', { skip: noDynamodb }, async t => {
  const { url } = await startDynamodb(t)
  const options = { endpoint: url, region: 'local', credentials }
  const table = `users-${process.pid}-${Date.now()}`
  const client = new DynamoDBClient(options)
  t.teardown(() => client.destroy())
  await createTable(client, { table })
  userStories({
    test: t.test,
    name: 'dynamodb',
    store: space => dynamodbStore({ ...options, table, prefix: space }),
    index: 'eventual'
  })
})
