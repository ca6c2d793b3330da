import type { CreateTableCommandInput, DynamoDBClient } from '@aws-sdk/client-dynamodb'
import type { DynamodbClient } from './dynamodb-client.js'
import { importSdk } from './dynamodb-client.js'

export interface DynamodbTable {
  /** Default: `sessions`. */
  table?: string
}

/** The attribute that tells DynamoDB when it may remove an item: seconds since the epoch. */
export const TTL = 'removeAt'
/** The global secondary index, and the attribute that it is made of. */
export const PRINCIPAL = 'principal'

function definition (table: string) {
  return {
    TableName: table,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [
      { AttributeName: 'id', AttributeType: 'S' },
      { AttributeName: PRINCIPAL, AttributeType: 'S' }
    ],
    KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
    GlobalSecondaryIndexes: [{
      IndexName: PRINCIPAL,
      KeySchema: [{ AttributeName: PRINCIPAL, KeyType: 'HASH' }],
      Projection: { ProjectionType: 'KEYS_ONLY' }
    }]
  } satisfies CreateTableCommandInput
}

/** A CloudFormation template of the table, as JSON. */
export function cloudFormation ({ table = 'sessions' }: DynamodbTable = {}): string {
  const Properties = {
    ...definition(table),
    TimeToLiveSpecification: { AttributeName: TTL, Enabled: true }
  }
  const Sessions = { Type: 'AWS::DynamoDB::Table', Properties }
  return JSON.stringify({ AWSTemplateFormatVersion: '2010-09-09', Resources: { Sessions } }, null, 2)
}

/**
 * Makes the table, waits until it can be used and has DynamoDB remove what is expired. A table of that name
 * is left as it is, so that several processes may call this at once.
 *
 * @param client a `DynamoDBClient`; it is not closed
 */
export async function createTable (
  client: DynamodbClient, { table = 'sessions' }: DynamodbTable = {}
): Promise<void> {
  const sdk = await importSdk()
  const db = client as unknown as DynamoDBClient
  const named = { TableName: table }
  await db.send(new sdk.CreateTableCommand(definition(table))).catch((error: Error) => {
    if (error.name !== 'ResourceInUseException') throw error
  })
  await sdk.waitUntilTableExists({ client: db, minDelay: 1, maxDelay: 5, maxWaitTime: 120 }, named)
  const TimeToLiveSpecification = { AttributeName: TTL, Enabled: true }
  try {
    await db.send(new sdk.UpdateTimeToLiveCommand({ ...named, TimeToLiveSpecification }))
  } catch (error) {
    const { TimeToLiveDescription: found } = await db.send(new sdk.DescribeTimeToLiveCommand(named))
    if (found?.AttributeName !== TTL) throw error
  }
}
