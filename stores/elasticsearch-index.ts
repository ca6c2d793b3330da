import { send } from './elasticsearch-client.js'
import type { ElasticsearchClient } from './elasticsearch-client.js'

export interface ElasticsearchIndex {
  /** Default: `sessions`. */
  index?: string
  /** Settings of the index, such as `number_of_replicas`. Default: the server's own. */
  settings?: Record<string, unknown>
}

/** What is searched for. Everything else is kept in `_source` only, never looked into. */
const properties = {
  space: { type: 'keyword' },
  key: { type: 'keyword' },
  principal: { type: 'keyword' },
  expiresAt: { type: 'long' }
}

/** The body of the request that creates the index, as JSON. */
export function indexDefinition ({ settings = {} }: ElasticsearchIndex = {}): string {
  return JSON.stringify({ settings, mappings: { dynamic: false, properties } }, null, 2)
}

/**
 * Makes the index. One of that name is left as it is, so that several processes may call this at once.
 *
 * @param client of @elastic/elasticsearch or @opensearch-project/opensearch; it is not closed
 */
export async function createIndex (
  client: ElasticsearchClient, options: ElasticsearchIndex = {}
): Promise<void> {
  const { index = 'sessions' } = options
  const body = JSON.parse(indexDefinition(options))
  await send(client, { method: 'PUT', path: `/${index}`, body }).catch((error: Error) => {
    if (!error.message.endsWith('resource_already_exists_exception')) throw error
  })
}

/** Rejects when the index is missing, or was made by a write that came before the mapping. */
export async function checkIndex (client: ElasticsearchClient, index: string): Promise<void> {
  const { statusCode, body } = await send(client, { method: 'GET', path: `/${index}/_mapping` }, [404])
  const found = statusCode === 404 ? [] : Object.values(body as Record<string, Mapped>)
  const fits = ({ mappings }: Mapped) =>
    Object.entries(properties).every(([name, { type }]) => mappings.properties?.[name]?.type === type)
  if (found.length === 0 || !found.every(fits)) {
    throw new Error(`there is no index ${index} with the mapping of sessions; ` +
      'make it with createIndex of fastify-sessions/stores/elasticsearch')
  }
}

interface Mapped { mappings: { properties?: Record<string, { type?: string }> } }
