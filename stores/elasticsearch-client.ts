import { importDriver, refuseBeside, refuseBoth } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'

/** What the store uses of a client of @elastic/elasticsearch or @opensearch-project/opensearch. */
export interface ElasticsearchClient {
  transport: {
    request (params: Request, options?: { ignore?: number[], meta?: true }): Promise<unknown>
  }
}

export interface Request {
  method: string
  path: string
  querystring?: Record<string, string | number | boolean>
  body?: Record<string, unknown>
}

/** An answer, with what the store reads of it. */
export interface Answer<Source = unknown> {
  statusCode: number
  body: {
    found?: boolean
    _seq_no?: number
    _primary_term?: number
    _source?: Source
    hits?: { total?: { value: number }, hits: Array<{ _source: Source }> }
    deleted?: number
  }
}

/** How an account proves itself, as the client of Elasticsearch takes it. */
export type ElasticsearchAuth =
  { username: string, password: string } | { bearer: string } | { apiKey: string }

/** The ways to connect: what a client is made of, or a client. */
export interface Ways {
  node?: string | readonly string[]
  apiKey?: string
  auth?: ElasticsearchAuth
  client?: ElasticsearchClient
}

export interface Connection {
  get (): Promise<ElasticsearchClient>
  /** Absent where the client is borrowed. */
  close? (): Promise<void>
}

/** What differs from the client's defaults, so that a server that is down is told before `storeTimeout`. */
const impatient = { requestTimeout: 2000, maxRetries: 1 }

export async function connectElasticsearch (ways: Ways, context: StoreContext): Promise<Connection> {
  refuseBeside('elasticsearch store', ways)
  refuseBoth('elasticsearch store', ways, 'apiKey', 'auth')
  const { client, node = 'http://localhost:9200', apiKey } = ways
  if (client !== undefined) return { get: async () => client }
  const auth = apiKey === undefined ? ways.auth : { apiKey }
  const { Client } =
    await importDriver('elasticsearch', '@elastic/elasticsearch', () => import('@elastic/elasticsearch'))
  return context.connect('elasticsearch', { node, auth },
    async () => new Client({ ...impatient, node: typeof node === 'string' ? node : [...node], auth }),
    opened => opened.close())
}

/**
 * Sends a request.
 *
 * @param ignore statuses that are answers, not errors
 * @throws an error with the type of what went wrong, and no more: reasons tell keys and data, and the
 * client's errors have the whole request
 */
export async function send<Source> (
  client: ElasticsearchClient, request: Request, ignore: number[] = []
): Promise<Answer<Source>> {
  try {
    return await client.transport.request(request, { ignore, meta: true }) as Answer<Source>
  } catch (error) {
    throw discreet(error as Failure)
  }
}

type Failure = Error & { meta?: { statusCode?: number, body?: { error?: { type?: string } } } }

function discreet ({ name, message, meta }: Failure): Error {
  const type = meta?.body?.error?.type
  return new Error(name === 'ResponseError' ? `status ${meta?.statusCode}: ${type ?? 'no reason given'}` : message)
}
