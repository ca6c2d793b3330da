import type * as DynamodbModule from '@aws-sdk/client-dynamodb'
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb'
import { importDriver } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { OptionError } from '../lib/errors.js'

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
  const excluded = Object.keys(own)
  if (client !== undefined && excluded.length > 0) {
    throw new OptionError(`dynamodb store options client and ${excluded.join(' and ')} exclude each other; ` +
      'a client has its own')
  }
  const sdk = await importSdk()
  if (client !== undefined) return { sdk, get: async () => client as unknown as DynamoDBClient }
  const open = async () => new sdk.DynamoDBClient({ ...impatient, ...own })
  const connection = context.connect(asText(own), open, async opened => opened.destroy())
  return { sdk, get: () => connection.get(), close: () => connection.close() }
}

const identities = new WeakMap<object, number>()
let identity = 0

/** Equal texts mean equal connections. Credentials go by identity: they are not to be in a text. */
function asText ({ region, endpoint, credentials }: Omit<Ways, 'client'>): string {
  if (credentials !== undefined && !identities.has(credentials)) identities.set(credentials, ++identity)
  return 'dynamodb ' + JSON.stringify([region, endpoint, credentials && identities.get(credentials)])
}
