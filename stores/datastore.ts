import { Type } from '@sinclair/typebox'
import { defineStore, Live } from '../lib/define-store.js'
import { datastoreBackend } from './datastore-backend.js'
import { connectDatastore } from './datastore-client.js'
import type { DatastoreClient, DatastoreCredentials } from './datastore-client.js'

export type { DatastoreClient, DatastoreCredentials } from './datastore-client.js'

/** Keeps sessions in Google Cloud Datastore. Needs the package @google-cloud/datastore. */
export const datastoreStore = defineStore({
  type: 'datastore',
  options: Type.Object({
    kind: Type.String({
      default: 'Session',
      pattern: '^(?!__.*__$)[\\w.-]{1,100}$',
      expects: 'a name of 1 to 100 letters, digits and _ . -, not __between underscores__',
      description: 'The kind of the entities.'
    }),
    namespace: Type.String({
      default: '',
      pattern: '^(?!__.*__$)[\\w.-]{0,100}$',
      expects: 'a name of up to 100 letters, digits and _ . -, not __between underscores__',
      description: "Datastore's namespace, which keeps the entities of several tenants apart."
    }),
    projectId: Type.Optional(Type.String({
      minLength: 1,
      description: 'The project. Default: as the driver finds it (GOOGLE_CLOUD_PROJECT, the key, ...).'
    })),
    databaseId: Type.Optional(Type.String({
      minLength: 1,
      description: 'The database. Default: the default database.'
    })),
    keyFilename: Type.Optional(Type.String({
      minLength: 1,
      description: 'The file with the key of a service account. Default: Application Default Credentials.'
    })),
    credentials: Type.Optional(Live<DatastoreCredentials>(
      'an object with client_email and private_key', isCredentials,
      'The key of a service account. Default: Application Default Credentials.')),
    client: Type.Optional(Live<DatastoreClient>('a Datastore', isClient,
      'A Datastore that the application has already. It is used as it is and never closed.'))
  }),

  async open ({ kind, namespace, ...ways }, context) {
    const place = { namespace, kind: context.namespace === '' ? kind : `${kind}:${context.namespace}` }
    return { backend: datastoreBackend(await connectDatastore(ways, context), place, context.clock) }
  }
})

function isCredentials (value: unknown): boolean {
  const { client_email: email, private_key: key } = (value ?? {}) as Record<string, unknown>
  return typeof email === 'string' && typeof key === 'string'
}

function isClient (value: unknown): boolean {
  const { key, createQuery, transaction } = (value ?? {}) as Record<string, unknown>
  return [key, createQuery, transaction].every(method => typeof method === 'function')
}
