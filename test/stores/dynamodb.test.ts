import {
  DescribeTableCommand, DescribeTimeToLiveCommand, DynamoDBClient, GetItemCommand, ListTablesCommand,
  PutItemCommand, UpdateTimeToLiveCommand
} from '@aws-sdk/client-dynamodb'
import { inspect } from 'node:util'
import { test } from 'tap'
import type { Test } from 'tap'
import { newKey } from '../../lib/testing/backend-lab.js'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { cloudFormation, createTable, dynamodbStore } from '../../stores/dynamodb.js'
import { credentials, noOwnDynamodb, startOwnDynamodb } from '../engines/dynamodb.js'
import {
  ada, connectionOf, failsInTime, failure, hashOf,
  isOneWriteWhenSentTwice, nobody, opener, record, refuses, verbs
} from '../helpers/store-kit.js'

type Options = NonNullable<Parameters<typeof dynamodbStore>[0]>

const open = opener(dynamodbStore)

test('options', async t => {
  await refuses(t, dynamodbStore, [
    [{ table: 'no' }, /^dynamodb store option table must be a name of 3 to 255 letters/],
    [{ table: 'a table' }, /option table/],
    [{ prefix: '' }, /^dynamodb store option prefix must be a text of 1 to 200 letters/],
    [{ prefix: 'ż' }, /option prefix/],
    [{ region: '' }, /option region/],
    [{ endpoint: '127.0.0.1:8000' }, /option endpoint must be a URL that begins with/],
    [{ client: {} }, /option client must be a DynamoDBClient, received an object/],
    [{ client: null }, /option client must be a DynamoDBClient, received null/],
    [{ credentials: null }, /option credentials must be an object with accessKeyId and secretAccessKey/],
    [{ credentials: 'hunter2' }, /option credentials .* received a string of 7 characters/],
    [{ credentials: { accessKeyId: 'hunter2' } }, /option credentials .* received an object/]
  ])
})

test('a client has its own Region and credentials', async t => {
  const client = new DynamoDBClient({})
  await refuses(t, dynamodbStore, [
    [{ client, region: 'local' }, 'dynamodb store options client and region exclude each other'],
    [{ client, endpoint: 'http://127.0.0.1:1', credentials }, 'options client and endpoint and credentials exclude']
  ])
})

test('a connection is shared by what has the same Region, server and credentials', async t => {
  const keyOf = (options: Options) => connectionOf(dynamodbStore(options))
  const provider = async () => credentials
  const endpoint = 'http://127.0.0.1:1'
  t.equal(await keyOf({ endpoint, credentials, table: 'one' }), await keyOf({ endpoint, credentials, table: 'two' }))
  const different = [
    {}, { region: 'a' }, { region: 'b' }, { endpoint }, { credentials }, { credentials: provider }
  ]
  t.equal(new Set(await Promise.all(different.map(keyOf))).size, different.length)
  t.equal(await keyOf({ client: new DynamoDBClient({}) }), '')
})

test('one server', { skip: noOwnDynamodb, timeout: 180_000 }, async t => {
  const { url, control } = await startOwnDynamodb(t)
  const server = { endpoint: url, region: 'local', credentials }
  const admin = new DynamoDBClient(server)
  t.teardown(() => admin.destroy())

  await t.test('without the table every verb says what to do', async t => {
    const backend = await open(t, server)
    for (const call of verbs(backend, newKey())) {
      t.match((await failure(call)).message, /^there is no table sessions; make it with createTable/)
    }
  })

  await t.test('the table is made once, however many make it', async t => {
    await Promise.all(Array.from({ length: 10 }, () => createTable(admin)))
    await createTable(admin)
    const { TimeToLiveDescription: ttl } =
      await admin.send(new DescribeTimeToLiveCommand({ TableName: 'sessions' }))
    t.match(ttl, { TimeToLiveStatus: 'ENABLED', AttributeName: 'removeAt' })
    t.strictSame((await admin.send(new ListTablesCommand())).TableNames, ['sessions'])
  })

  await t.test('the template describes the same table', async t => {
    const { Resources: { Sessions } } = JSON.parse(cloudFormation({ table: 'web-sessions' }))
    t.match(Sessions, {
      Type: 'AWS::DynamoDB::Table',
      Properties: {
        TableName: 'web-sessions',
        BillingMode: 'PAY_PER_REQUEST',
        TimeToLiveSpecification: { AttributeName: 'removeAt', Enabled: true }
      }
    })
    t.equal(JSON.parse(cloudFormation()).Resources.Sessions.Properties.TableName, 'sessions')
    await createTable(admin, { table: 'web-sessions' })
    const { Table } = await admin.send(new DescribeTableCommand({ TableName: 'web-sessions' }))
    const { AttributeDefinitions, KeySchema, GlobalSecondaryIndexes } = Sessions.Properties
    t.match(Table, { KeySchema, GlobalSecondaryIndexes })
    t.strictSame(new Set(Table!.AttributeDefinitions), new Set(AttributeDefinitions))
  })

  await t.test('a table that removes by another attribute, or cannot be made: the error is told', async t => {
    await createTable(admin, { table: 'other' })
    const ttl = (AttributeName: string, Enabled: boolean) => admin.send(new UpdateTimeToLiveCommand({
      TableName: 'other', TimeToLiveSpecification: { AttributeName, Enabled }
    }))
    await ttl('removeAt', false)
    await ttl('endsAt', true)
    await t.rejects(createTable(admin, { table: 'other' }), /TimeToLive/)
    await t.rejects(createTable(admin, { table: 'x' }), { name: 'ValidationException' })
  })

  await t.test('what is stored under what', async t => {
    const backend = await open(t, { ...server, prefix: 'keys:' }, undefined, 'auth')
    const [text, bytes] = [newKey(), newKey()]
    await backend.create(text, { value: 'ż', version: 'one', expiresAt: 4_000_000_000_001 }, { ...ada, createdAt: 2 })
    await backend.create(bytes, { value: Uint8Array.of(255, 0), version: 'two', expiresAt: 4_000_000_000_000 }, nobody)
    t.strictSame(await item(`keys:auth:${text}`), {
      id: { S: `keys:auth:${text}` },
      content: { S: 'ż' },
      version: { S: 'one' },
      createdAt: { N: '2' },
      expiresAt: { N: '4000000000001' },
      removeAt: { N: '4000000001' },
      principal: { S: `keys:auth:${hashOf('ada')}` }
    })
    t.match(await item(`keys:auth:${bytes}`), { content: { B: Uint8Array.of(255, 0) }, removeAt: { N: '4000000000' } })
    t.notMatch(await item(`keys:auth:${bytes}`), { principal: {} })
    await backend.touch(text, 4_100_000_000_500)
    t.match(await item(`keys:auth:${text}`), { expiresAt: { N: '4100000000500' }, removeAt: { N: '4100000001' } })
  })

  await t.test('each verb is one request', async t => {
    const { client, sent } = recorder(t)
    const backend = await open(t, { client, prefix: 'cost:' })
    const [key, other] = [newKey(), newKey()]
    await backend.create(key, record('1'), ada)
    await backend.create(key, record('2'), ada)
    await backend.update(key, record('3'), ada, 'another')
    await backend.update(key, record('3'), ada, '1')
    await backend.update(other, record('3'), ada, '1')
    await backend.touch(key, Date.now() + 90_000)
    await backend.touch(other, Date.now() + 90_000)
    await backend.read(key)
    await backend.remove(key, 'another')
    await backend.remove(key)
    await backend.ping!()
    t.strictSame(sent.splice(0), [
      'PutItem', 'PutItem', 'PutItem', 'PutItem', 'PutItem', 'UpdateItem', 'UpdateItem', 'GetItem', 'DeleteItem',
      'DeleteItem', 'GetItem'
    ])
    await backend.create(key, record('1'), ada)
    sent.length = 0
    for await (const found of backend.keysOf!('ada')) t.equal(found.key, key)
    await backend.removeAllOf!('ada')
    t.strictSame(sent, ['Query', 'GetItem', 'Query', 'DeleteItem'])
  })

  await t.test('an expired item that is still there is missing, and stays so until it is removed', async t => {
    const clock = new TestClock()
    const backend = await open(t, { ...server, prefix: 'expired:' }, clock)
    const key = newKey()
    await backend.create(key, record('1', clock.now() + 1000), ada)
    clock.advance(1)
    t.equal(await backend.read(key), null)
    t.equal(await backend.update(key, record('2', clock.now() + 1000), ada, '1'), 'missing')
    t.equal(await backend.touch(key, clock.now() + 1000), false)
    t.equal(await backend.remove(key), 'missing')
    t.equal(await backend.remove(key, '1'), 'missing')
    t.match(await item(`expired:${key}`), { version: { S: '1' } })
    t.equal(await backend.create(key, record('3', clock.now() + 1000), nobody), true)
    t.notMatch(await item(`expired:${key}`), { principal: {} })
  })

  await t.test('a write sent twice, as the SDK does when the answer was lost, is one write', async t => {
    await isOneWriteWhenSentTwice(t, await open(t, { ...server, prefix: 'twice:' }))
  })

  await t.test('an index entry that is out of date is not believed', async t => {
    const backend = await open(t, { ...server, prefix: 'stale:' })
    const [moved, live] = [newKey(), newKey()]
    for (const key of [moved, live]) await backend.create(key, record('1'), ada)
    const moveTo = async (owner: string) => {
      const Item = { ...await item(`stale:${moved}`), principal: { S: `stale:${hashOf(owner)}` } }
      await admin.send(new PutItemCommand({ TableName: 'sessions', Item }))
    }
    // Between the answer of the index and what follows.
    const { client } = recorder(t, async name => { if (name !== 'Query') await moveTo('bob') })
    const late = await open(t, { client, prefix: 'stale:' })
    const found = []
    for await (const { key } of late.keysOf!('ada')) found.push(key)
    t.strictSame(found, [live])
    await moveTo('ada')
    t.equal(await late.removeAllOf!('ada'), 1)
    t.equal((await backend.read(moved))?.value, 'v1')
  })

  await t.test('more sessions of a principal than fit into one answer', async t => {
    const backend = await open(t, { ...server, prefix: 'pages:' })
    const keys = Array.from({ length: 250 }, newKey)
    // On a busy machine the SDK does not connect 50 sockets at once in the time it has.
    for (let i = 0; i < keys.length; i += 10) {
      await Promise.all(keys.slice(i, i + 10).map(key => backend.create(key, record('1'), ada)))
    }
    const found = []
    for await (const { key } of backend.keysOf!('ada')) found.push(key)
    t.strictSame(found.sort(), keys.sort())
    t.equal(await backend.removeAllOf!('ada', keys[0]), 249)
  })

  await t.test('count goes through everything, whatever else is in the table', async t => {
    const backend = await open(t, { ...server, prefix: 'many:' })
    const others = await open(t, { ...server, prefix: 'many' })
    const large = { ...record('1'), value: 'x'.repeat(300_000) }
    await Promise.all(Array.from({ length: 9 }, () => backend.create(newKey(), large, nobody)))
    t.equal(await backend.count!(), 9)
    t.equal(await others.count!(), 0)
  })

  await t.test('the largest value fits beside the longest names', async t => {
    const prefix = 'p'.repeat(200)
    const backend = await open(t, { ...server, prefix }, undefined, 'n'.repeat(64))
    const key = newKey()
    const largest = { ...record('v'.repeat(100)), value: 'x'.repeat(400_000) }
    t.equal(await backend.create(key, largest, { principal: 'ada', createdAt: Date.now() }), true)
    await t.rejects(backend.update(key, { ...largest, value: 'x'.repeat(400_001) }, ada, largest.version), {
      code: 'FST_SESSIONS_TOO_LARGE', message: /takes 400001 bytes, more than the 400000/
    })
  })

  await t.test('a client of the application is used and stays open', async t => {
    const { client, sent } = recorder(t)
    const { backend, close } = await openBackend(dynamodbStore({ client }))
    await backend.ping!()
    await close()
    await admin.send(new ListTablesCommand())
    await client.send(new ListTablesCommand())
    t.strictSame(sent, ['GetItem', 'ListTables'])
  })

  await t.test('errors carry neither keys nor data nor credentials', async t => {
    const backend = await open(t, { ...server, table: 'missing' })
    const key = newKey()
    for (const call of verbs(backend, key)) {
      const shown = inspect(await failure(call), { showHidden: true, depth: 10 })
      for (const secret of [key, 'vsecret', credentials.secretAccessKey]) t.notOk(shown.includes(secret))
    }
  })

  await t.test('stopped or silent, every verb rejects within the time of the session', async t => {
    const backend = await open(t, server)
    await failsInTime(t, backend, control, /ECONN|socket hang up|exceeded the configured 1500 ms/)
    await createTable(admin)
    await backend.ping!()
  })

  async function item (id: string) {
    const { Item } = await admin.send(new GetItemCommand({ TableName: 'sessions', Key: { id: { S: id } } }))
    return Item
  }

  /** A client of the application that notes, or delays, what it is asked. */
  function recorder (t: Test, before: (name: string) => Promise<void> = async () => {}) {
    const client = new DynamoDBClient(server)
    t.teardown(() => client.destroy())
    const sent: string[] = []
    client.middlewareStack.add((next, context) => async args => {
      const name = String(context.commandName).replace('Command', '')
      sent.push(name)
      await before(name)
      return next(args)
    }, { step: 'initialize' })
    return { client, sent }
  }
})

test('without a Region or credentials the SDK says what is missing', async t => {
  for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) {
    const { [name]: value } = process.env
    delete process.env[name]
    t.teardown(() => { if (value !== undefined) process.env[name] = value })
  }
  process.env.AWS_CONFIG_FILE = process.env.AWS_SHARED_CREDENTIALS_FILE = '/dev/null'
  t.teardown(() => {
    delete process.env.AWS_CONFIG_FILE
    delete process.env.AWS_SHARED_CREDENTIALS_FILE
  })
  const backend = await open(t, { credentials })
  await t.rejects(backend.read(newKey()), /Region is missing/)
})
