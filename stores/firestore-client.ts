import type { Firestore } from '@google-cloud/firestore'
import { importDriver } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { OptionError } from '../lib/errors.js'

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
/** Milliseconds for one request, however often the driver sends it. */
const LIMIT = 4000

/**
 * The driver itself waits for minutes. What it can be told is how long each sending may take. What only reads
 * it sends again after that; a write it does not, so that gets all the time there is.
 */
const impatient = {
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.service_config': JSON.stringify({
    methodConfig: [
      { name: [{ service: SERVICE, method: 'Commit' }], timeout: `${LIMIT / 1000}s`, waitForReady: true },
      { name: [{ service: SERVICE }], timeout: '2s', waitForReady: true }
    ]
  })
}

export async function connectFirestore (ways: Ways, context: StoreContext): Promise<Connection> {
  const { client, ...own } = ways
  refuseBoth(ways)
  if (client !== undefined) {
    const borrowed = { firestore: client as unknown as Firestore, underway: new Set<Promise<unknown>>() }
    return { ask: work => within(borrowed, work) }
  }
  const { Firestore } = await importDriver('firestore', '@google-cloud/firestore', () => {
    return import('@google-cloud/firestore')
  })
  const connection = context.connect<Opened>(asText(own), async () => {
    return { firestore: new Firestore({ ...own, ...impatient }), underway: new Set() }
  }, end)
  return { ask: async work => within(await connection.get(), work), close: () => connection.close() }
}

function refuseBoth ({ client, ...own }: Ways) {
  const given = Object.keys(own)
  if (client !== undefined && given.length > 0) {
    throw new OptionError(`firestore store options client and ${given.join(' and ')} exclude each other; ` +
      'a client has its own')
  }
  if (own.keyFilename !== undefined && own.credentials !== undefined) {
    throw new OptionError('firestore store options keyFilename and credentials exclude each other')
  }
}

async function within<T> (
  { firestore, underway }: Opened, work: (firestore: Firestore) => Promise<T>
): Promise<T> {
  const asked = work(firestore)
  underway.add(asked)
  const forget = () => underway.delete(asked)
  asked.then(forget, forget)
  let timer
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Firestore did not answer in ${LIMIT} ms`)), LIMIT)
  })
  try {
    return await Promise.race([asked, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A request that the driver would send again after terminate() is an unhandled rejection. */
async function end ({ firestore, underway }: Opened): Promise<void> {
  await Promise.allSettled(underway)
  await firestore.terminate()
}

const identities = new WeakMap<object, number>()
let identity = 0

/** Equal texts mean equal connections. Credentials go by identity: they are not to be in a text. */
function asText ({ projectId, databaseId, keyFilename, credentials }: Omit<Ways, 'client'>): string {
  if (credentials !== undefined && !identities.has(credentials)) identities.set(credentials, ++identity)
  return 'firestore ' +
    JSON.stringify([projectId, databaseId, keyFilename, credentials && identities.get(credentials)])
}
