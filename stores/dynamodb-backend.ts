import type { AttributeValue, ConditionalCheckFailedException, DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { principalHash } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { TooLargeError } from '../lib/errors.js'
import type { Instant, RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import type { Connection } from './dynamodb-client.js'
import { PRINCIPAL, TTL } from './dynamodb-table.js'

type Item = Record<string, AttributeValue>

/** Bytes of a value. DynamoDB's limit for an item is 409 600, with the names and the other attributes. */
const LARGEST = 400_000
/** How many sessions of a principal are looked at together. */
const PAGE = 100
/** Characters of a key. */
const KEY_LENGTH = 43

/** The verbs, on the items of one prefix. */
export function dynamodbBackend (
  { sdk, get, close }: Connection, table: string, prefix: string, clock: StoreContext['clock']
): SessionBackend {
  const at = (key: string) => ({ TableName: table, Key: { id: { S: prefix + key } } })

  async function use<T> (work: (client: DynamoDBClient) => Promise<T>): Promise<T> {
    try {
      return await work(await get())
    } catch (cause) {
      if ((cause as Error).name !== 'ResourceNotFoundException') throw cause
      throw new Error(`there is no table ${table}; make it with createTable of fastify-sessions/stores/dynamodb`, { cause })
    }
  }

  async function load (key: string): Promise<Item | null> {
    const { Item: item } = await use(client =>
      client.send(new sdk.GetItemCommand({ ...at(key), ConsistentRead: true })))
    return item !== undefined && isLive(item) ? item : null
  }

  /** @param version of what is written */
  async function conditional (
    write: (client: DynamoDBClient) => Promise<unknown>, version?: string
  ): Promise<WriteResult> {
    try {
      await use(write)
      return 'ok'
    } catch (error) {
      if (!isRefusal(error)) throw error
      if (error.Item === undefined || !isLive(error.Item)) return 'missing'
      // The SDK sends a write again when its answer was lost; what is in the way is then the first one.
      return error.Item.version.S === version ? 'ok' : 'conflict'
    }
  }

  function put (
    key: string, record: StoredRecord, { principal, createdAt }: RecordIndex, condition: string, values?: Item
  ): Promise<WriteResult> {
    const Item = {
      ...at(key).Key,
      content: contentOf(record.value),
      version: { S: record.version },
      createdAt: { N: String(createdAt) },
      ...expiry(record.expiresAt),
      ...principal !== null && { [PRINCIPAL]: ownerOf(principal) }
    }
    return conditional(client => client.send(new sdk.PutItemCommand({
      TableName: table,
      Item,
      ConditionExpression: condition,
      ExpressionAttributeValues: { ':now': now(), ...values },
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD'
    })), record.version)
  }

  function removeIf (key: string, condition: string, values?: Item): Promise<WriteResult> {
    return conditional(client => client.send(new sdk.DeleteItemCommand({
      ...at(key),
      ConditionExpression: `expiresAt > :now${condition}`,
      ExpressionAttributeValues: { ':now': now(), ...values },
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD'
    })))
  }

  /** What the index has of one principal, which may be a moment old. */
  async function * hints (owner: AttributeValue): AsyncIterable<string[]> {
    const pages = all(start => use(client => client.send(new sdk.QueryCommand({
      TableName: table,
      IndexName: PRINCIPAL,
      KeyConditionExpression: `${PRINCIPAL} = :owner`,
      ExpressionAttributeValues: { ':owner': owner },
      Limit: PAGE,
      ExclusiveStartKey: start
    }))))
    for await (const { Items = [] } of pages) yield Items.map(({ id }) => id.S!.slice(prefix.length))
  }

  /** By a hash, since a principal may be any string of any length, the empty one too. */
  function ownerOf (principal: string): AttributeValue {
    return { S: prefix + principalHash(principal) }
  }

  function isLive (item: Item): boolean {
    return Number(item.expiresAt.N) > clock.now()
  }

  function now (): AttributeValue {
    return { N: String(clock.now()) }
  }

  return {
    async read (key) {
      const item = await load(key)
      return item && recordOf(item)
    },

    async create (key, record, index) {
      return await put(key, record, index, 'attribute_not_exists(id) OR expiresAt <= :now') === 'ok'
    },

    async update (key, record, index, ifVersion) {
      return put(key, record, index, 'expiresAt > :now AND version = :version', { ':version': { S: ifVersion } })
    },

    async touch (key, expiresAt) {
      const { expiresAt: moved, [TTL]: removeAt } = expiry(expiresAt)
      return await conditional(client => client.send(new sdk.UpdateItemCommand({
        ...at(key),
        UpdateExpression: `SET expiresAt = :moved, ${TTL} = :removeAt`,
        ConditionExpression: 'expiresAt > :now',
        ExpressionAttributeValues: { ':now': now(), ':moved': moved, ':removeAt': removeAt }
      }))) === 'ok'
    },

    remove (key, ifVersion) {
      if (ifVersion === undefined) return removeIf(key, '')
      return removeIf(key, ' AND version = :version', { ':version': { S: ifVersion } })
    },

    async * keysOf (principal) {
      const owner = ownerOf(principal)
      for await (const keys of hints(owner)) {
        const items = await Promise.all(keys.map(load))
        for (const [i, item] of items.entries()) {
          if (item?.[PRINCIPAL]?.S !== owner.S) continue
          const record = recordOf(item!)
          yield { key: keys[i], createdAt: Number(item!.createdAt.N), expiresAt: record.expiresAt, record }
        }
      }
    },

    async removeAllOf (principal, except) {
      const owner = ownerOf(principal)
      let removed = 0
      for await (const keys of hints(owner)) {
        const results = await Promise.all(keys
          .filter(key => key !== except)
          .map(key => removeIf(key, ` AND ${PRINCIPAL} = :owner`, { ':owner': owner })))
        removed += results.filter(result => result === 'ok').length
      }
      return removed
    },

    async count () {
      const pages = all(start => use(client => client.send(new sdk.ScanCommand({
        TableName: table,
        ConsistentRead: true,
        Select: 'COUNT',
        FilterExpression: 'begins_with(id, :prefix) AND size(id) = :size AND expiresAt > :now',
        ExpressionAttributeValues: {
          ':prefix': { S: prefix }, ':size': { N: String(prefix.length + KEY_LENGTH) }, ':now': now()
        },
        ExclusiveStartKey: start
      }))))
      let live = 0
      for await (const { Count } of pages) live += Count!
      return live
    },

    async ping () {
      await load('ping')
    },

    close
  }
}

/** Every page of a query or scan. */
async function * all<T extends { LastEvaluatedKey?: Item }> (
  ask: (start: Item | undefined) => Promise<T>
): AsyncIterable<T> {
  let start: Item | undefined
  do {
    const page = await ask(start)
    yield page
    start = page.LastEvaluatedKey
  } while (start !== undefined)
}

function contentOf (value: string | Uint8Array): AttributeValue {
  const size = Buffer.byteLength(value)
  if (size > LARGEST) throw new TooLargeError(size, LARGEST)
  return typeof value === 'string' ? { S: value } : { B: value }
}

function expiry (expiresAt: Instant) {
  return { expiresAt: { N: String(expiresAt) }, [TTL]: { N: String(Math.ceil(expiresAt / 1000)) } }
}

function recordOf ({ content, version, expiresAt }: Item): StoredRecord {
  return { value: content.S ?? content.B!, version: version.S!, expiresAt: Number(expiresAt.N) }
}

function isRefusal (error: unknown): error is ConditionalCheckFailedException {
  return (error as Error).name === 'ConditionalCheckFailedException'
}
