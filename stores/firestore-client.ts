import type { Firestore } from '@google-cloud/firestore'
import { importDriver, refuseBeside, refuseBoth, withinTime } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'

/** What the store uses of a `Firestore` of @google-cloud/firestore; firebase-admin hands out the same. */
export interface FirestoreClient {
  doc (path: string): unknown
  collection (path: string): unknown
  getAll (...documents: never[]): Promise<unknown>
}

/** The key of a service account. */
export interface FirestoreCredentials { client_email: string, private_key: string }

/** The ways to connect: what a client is made of, or a client. */
export interface Ways {
  projectId?: string
  databaseId?: string
  keyFilename?: string
  credentials?: FirestoreCredentials
  client?: FirestoreClient
}

export interface Connection {
  /** Resolves to what `work` makes of the client; rejects when that takes too long. */
  ask<T> (work: (firestore: Firestore) => Promise<T>): Promise<T>
  /** Absent where the client is borrowed. */
  close?: () => Promise<void>
}

interface Opened { firestore: Firestore, underway: Set<Promise<unknown>> }

const SERVICE = 'google.firestore.v1.Firestore'
/** Seconds for one request, however often the driver sends it. */
const LIMIT = 4

/**
 * The driver itself waits for minutes. What it can be told is how long each sending may take. What only reads
 * it sends again after that; a write it does not, so that gets all the time there is.
 */
const impatient = {
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.service_config': JSON.stringify({
    methodConfig: [
      { name: [{ service: SERVICE, method: 'Commit' }], timeout: `${LIMIT}s`, waitForReady: true },
      { name: [{ service: SERVICE }], timeout: '2s', waitForReady: true }
    ]
  })
}

export async function connectFirestore (ways: Ways, context: StoreContext): Promise<Connection> {
  const { client, ...own } = ways
  refuseBeside('firestore store', ways)
  refuseBoth('firestore store', ways, 'keyFilename', 'credentials')
  if (client !== undefined) {
    const borrowed = { firestore: client as unknown as Firestore, underway: new Set<Promise<unknown>>() }
    return { ask: work => within(borrowed, work) }
  }
  const { Firestore } = await importDriver('firestore', '@google-cloud/firestore', () => {
    return import('@google-cloud/firestore')
  })
  const connection = context.connect<Opened>('firestore', own, async () => {
    return { firestore: new Firestore({ ...own, ...impatient }), underway: new Set() }
  }, end)
  return { ask: async work => within(await connection.get(), work), close: () => connection.close() }
}

async function within<T> (
  { firestore, underway }: Opened, work: (firestore: Firestore) => Promise<T>
): Promise<T> {
  const asked = work(firestore)
  underway.add(asked)
  const forget = () => underway.delete(asked)
  asked.then(forget, forget)
  return withinTime(LIMIT, () => asked)
}

/** A request that the driver would send again after terminate() is an unhandled rejection. */
async function end ({ firestore, underway }: Opened): Promise<void> {
  await Promise.allSettled(underway)
  await firestore.terminate()
}
