import { Type } from '@sinclair/typebox'
import { defineStore, Live } from '../lib/define-store.js'
import { elasticsearchBackend } from './elasticsearch-backend.js'
import { connectElasticsearch } from './elasticsearch-client.js'
import type { ElasticsearchAuth, ElasticsearchClient } from './elasticsearch-client.js'

export { createIndex, indexDefinition } from './elasticsearch-index.js'
export type { ElasticsearchIndex } from './elasticsearch-index.js'
export type { ElasticsearchAuth, ElasticsearchClient } from './elasticsearch-client.js'

/** Keeps sessions in Elasticsearch or OpenSearch. Needs the package @elastic/elasticsearch, or a client. */
export const elasticsearchStore = defineStore({
  type: 'elasticsearch',
  options: Type.Object({
    node: Type.Optional(Type.Union([
      Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })
    ], {
      sensitive: true,
      expects: 'a URL or a list of URLs',
      description: 'Where Elasticsearch is: a URL, or a list of them. Default: http://localhost:9200.'
    })),
    apiKey: Type.Optional(Type.String({ minLength: 1, sensitive: true, description: 'An API key, encoded.' })),
    auth: Type.Optional(Live<ElasticsearchAuth>('an object such as { username, password }', isObject,
      'In place of apiKey: { username, password }, { bearer }, or { apiKey }.')),
    client: Type.Optional(Live<ElasticsearchClient>('a client of Elasticsearch or OpenSearch', isClient,
      'A client that the application has already. It is used as it is and never closed.')),
    index: Type.String({
      default: 'sessions',
      pattern: '^(?=.{1,255}$)[a-z0-9][a-z0-9._-]*$',
      expects: 'a name of lower case letters, digits and . _ -',
      description: 'The index, or an alias of one. It is made by createIndex, never by the store.'
    }),
    prefix: Type.String({
      default: 'session:',
      pattern: '^[!-~]{0,200}$',
      expects: 'a text of at most 200 ASCII characters',
      description: 'What all ids of documents begin with.'
    })
  }),

  async open ({ index, prefix, ...ways }, context) {
    const { namespace, clock } = context
    const connection = await connectElasticsearch(ways, context)
    return { backend: elasticsearchBackend(connection, index, prefix + (namespace && `${namespace}:`), clock) }
  }
})

function isObject (value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isClient (value: unknown): boolean {
  return typeof (value as ElasticsearchClient | null)?.transport?.request === 'function'
}
