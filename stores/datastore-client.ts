import type { Datastore } from '@google-cloud/datastore'
import { importDriver, refuseBeside, refuseBoth } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'

/** What the store uses of a `Datastore` of @google-cloud/datastore. */
export interface DatastoreClient {
  readonly KEY: symbol
  key (options: never): unknown
  createQuery (namespace: string, kind: string): unknown
  transaction (): unknown
}

/** The key of a service account. */
export interface DatastoreCredentials { client_email: string, private_key: string }

/** The ways to connect: what a client is made of, or a client. */
export interface Ways {
  projectId?: string
  databaseId?: string
  keyFilename?: string
  credentials?: DatastoreCredentials
  client?: DatastoreClient
}

export interface Connection {
  get (): Promise<Datastore>
  /** Absent where the client is borrowed. */
  close?: () => Promise<void>
}

const SERVICE = 'google.datastore.v1.Datastore'
/** Milliseconds for one sending of a request, and for all of a request that only reads. */
const [ONE, ALL] = [2000, 3000]

const once = { timeout_millis: ONE, retry_codes_name: 'none', retry_params_name: 'short' }
const again = { ...once, retry_codes_name: 'unavailable' }

/** The driver itself waits for a minute, and sends again what only reads for ten. */
const impatient = {
  clientConfig: {
    interfaces: {
      [SERVICE]: {
        retry_codes: { none: [], unavailable: ['UNAVAILABLE'] },
        retry_params: {
          short: {
            initial_retry_delay_millis: 50,
            retry_delay_multiplier: 2,
            max_retry_delay_millis: 500,
            initial_rpc_timeout_millis: ONE,
            rpc_timeout_multiplier: 1,
            max_rpc_timeout_millis: ONE,
            total_timeout_millis: ALL
          }
        },
        methods: { Lookup: again, RunQuery: again, BeginTransaction: again, Commit: once, Rollback: once }
      }
    }
  },
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.service_config': JSON.stringify({
    methodConfig: [{ name: [{ service: SERVICE }], waitForReady: true }]
  })
}

export async function connectDatastore (ways: Ways, context: StoreContext): Promise<Connection> {
  const { client, ...own } = ways
  refuseBeside('datastore store', ways)
  refuseBoth('datastore store', ways, 'keyFilename', 'credentials')
  if (client !== undefined) return { get: async () => client as unknown as Datastore }
  const driver = await importDriver('datastore', '@google-cloud/datastore', () => {
    return import('@google-cloud/datastore')
  })
  const open = async () => new driver.Datastore({ ...own, ...impatient })
  const connection = context.connect('datastore', own, open, end)
  return { get: () => connection.get(), close: () => connection.close() }
}

/** A Datastore has no close() of its own, its channels have. */
async function end ({ clients_: channels }: Datastore): Promise<void> {
  await Promise.all([...channels.values()].map(channel => channel.close()))
}
