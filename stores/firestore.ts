import { Type } from '@sinclair/typebox'
import { defineStore, Live } from '../lib/define-store.js'
import { firestoreBackend } from './firestore-backend.js'
import { connectFirestore } from './firestore-client.js'
import type { FirestoreClient, FirestoreCredentials } from './firestore-client.js'

export type { FirestoreClient, FirestoreCredentials } from './firestore-client.js'

/** Keeps sessions in Google Cloud Firestore (Native mode). Needs the package @google-cloud/firestore. */
export const firestoreStore = defineStore({
  type: 'firestore',
  options: Type.Object({
    collection: Type.String({
      default: 'sessions',
      pattern: '^(?!__.*__$|\\.\\.?$)[\\w.-]{1,100}$',
      expects: 'a name of 1 to 100 letters, digits and _ . -, not . or .. or __between underscores__',
      description: 'The collection.'
    }),
    projectId: Type.Optional(Type.String({
      minLength: 1,
      description: 'The project. Default: as the driver finds it (GOOGLE_CLOUD_PROJECT, the key, ...).'
    })),
    databaseId: Type.Optional(Type.String({
      minLength: 1,
      description: "The database. Default: '(default)'."
    })),
    keyFilename: Type.Optional(Type.String({
      minLength: 1,
      description: 'The file with the key of a service account. Default: Application Default Credentials.'
    })),
    credentials: Type.Optional(Live<FirestoreCredentials>(
      'an object with client_email and private_key', isCredentials,
      'The key of a service account. Default: Application Default Credentials.')),
    client: Type.Optional(Live<FirestoreClient>('a Firestore', isClient,
      'A Firestore that the application has already. It is used as it is and never terminated.'))
  }),

  async open ({ collection, ...ways }, context) {
    const { namespace, clock } = context
    const path = namespace === '' ? collection : `${collection}/session:${namespace}/${collection}`
    return { backend: firestoreBackend(await connectFirestore(ways, context), path, clock) }
  }
})

function isCredentials (value: unknown): boolean {
  const { client_email: email, private_key: key } = (value ?? {}) as Record<string, unknown>
  return typeof email === 'string' && typeof key === 'string'
}

function isClient (value: unknown): boolean {
  const { doc, collection, getAll } = (value ?? {}) as Record<string, unknown>
  return [doc, collection, getAll].every(method => typeof method === 'function')
}
