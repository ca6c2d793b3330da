import type * as DynamodbModule from '@aws-sdk/client-dynamodb'
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { importDriver, refuseBeside } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'

/** What the store uses of a `DynamoDBClient` of @aws-sdk/client-dynamodb. */
export interface DynamodbClient {
  send (command: never): Promise<unknown>
}

/** An access key, or a function that provides one, as the AWS SDK takes them. */
export type DynamodbCredentials = NonNullable<DynamodbModule.DynamoDBClientConfig['credentials']>

/** The ways to connect: what a client is made of, or a client. */
export interface Ways {
  region?: string
  endpoint?: string
  credentials?: DynamodbCredentials
  client?: DynamodbClient
}

export interface Connection {
  sdk: typeof DynamodbModule
  get (): Promise<DynamoDBClient>
  /** Absent where the client is borrowed. */
  close? (): Promise<void>
}

/** What differs from the SDK's defaults: three attempts that end before the session's `storeTimeout`. */
const impatient = {
  maxAttempts: 3,
  requestHandler: { connectionTimeout: 1000, requestTimeout: 1500, throwOnRequestTimeout: true }
}

export function importSdk (): Promise<typeof DynamodbModule> {
  return importDriver('dynamodb', '@aws-sdk/client-dynamodb', () => import('@aws-sdk/client-dynamodb'))
}

export async function connectDynamodb (ways: Ways, context: StoreContext): Promise<Connection> {
  const { client, ...own } = ways
  refuseBeside('dynamodb store', ways)
  const sdk = await importSdk()
  if (client !== undefined) return { sdk, get: async () => client as unknown as DynamoDBClient }
  const open = async () => new sdk.DynamoDBClient({ ...impatient, ...own })
  const connection = context.connect('dynamodb', own, open, async opened => opened.destroy())
  return { sdk, get: () => connection.get(), close: () => connection.close() }
}
