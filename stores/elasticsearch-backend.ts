import { principalHash } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import type { Instant, RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import { send } from './elasticsearch-client.js'
import type { Answer, Connection, ElasticsearchClient, Request } from './elasticsearch-client.js'
import { checkIndex } from './elasticsearch-index.js'

/** A document. */
interface Source {
  space: string
  key: string
  text?: string
  /** In base64. */
  bytes?: string
  version: string
  createdAt: Instant
  expiresAt: Instant
  principal?: string
}

/** A document as it was seen: a write on that condition is refused once it has changed. */
interface Seen { source: Source, condition: { if_seq_no: number, if_primary_term: number } }
/** Resolves to whether it was carried out. */
type Write = (seen: Seen | null) => Promise<boolean>

/** How many sessions of a principal are fetched at once. */
const PAGE = 100

/** The verbs, on the documents of one space. */
export function elasticsearchBackend (
  connection: Connection, index: string, space: string, clock: StoreContext['clock']
): SessionBackend {
  let checked: Promise<void> | undefined

  /** Before the first request: a write to an index that is missing would make one with another mapping. */
  async function open (): Promise<ElasticsearchClient> {
    const client = await connection.get()
    checked ??= checkIndex(client, index).catch(error => {
      checked = undefined
      throw error
    })
    await checked
    return client
  }

  async function ask (request: Request, ignore?: number[]): Promise<Answer<Source>> {
    return send<Source>(await open(), { ...request, path: `/${index}/${request.path}` }, ignore)
  }

  async function load (key: string, querystring?: Request['querystring']): Promise<Seen | null> {
    const { body } = await ask({ method: 'GET', path: document('_doc', key), querystring }, [404])
    if (body.found === undefined) throw new Error(`there is no index ${index}`)
    if (!body.found) return null
    const condition = { if_seq_no: body._seq_no!, if_primary_term: body._primary_term! }
    return { source: body._source!, condition }
  }

  /**
   * Decides by what a read has shown; the engine carries that out only if it is still so. Otherwise somebody
   * else has written, and it is decided again.
   */
  async function settle (
    key: string, decide: (live: Source | null) => WriteResult | Write
  ): Promise<WriteResult> {
    for (;;) {
      const seen = await load(key, { _source_excludes: 'text,bytes' })
      const decision = decide(seen !== null && isLive(seen.source) ? seen.source : null)
      if (typeof decision === 'string') return decision
      if (await decision(seen)) return 'ok'
    }
  }

  async function write (request: Request, seen: Seen | null): Promise<boolean> {
    const { statusCode } = await ask({ ...request, querystring: seen?.condition }, [404, 409])
    return statusCode < 300
  }

  function put (key: string, source: Source): Write {
    return seen => write({
      method: 'PUT', path: document(seen === null ? '_create' : '_doc', key), body: { ...source }
    }, seen)
  }

  function drop (key: string): Write {
    return seen => write({ method: 'DELETE', path: document('_doc', key) }, seen)
  }

  /** Sees every write that was answered before: a search sees them only after a refresh. */
  async function search (body: Record<string, unknown>): Promise<NonNullable<Answer<Source>['body']['hits']>> {
    await ask({ method: 'POST', path: '_refresh' })
    const querystring = { allow_partial_search_results: false }
    const answer = await ask({ method: 'POST', path: '_search', querystring, body })
    return answer.body.hits!
  }

  /** The live documents of one principal, page by page. */
  async function * found (principal: string): AsyncIterable<Source[]> {
    const query = filter(live(), { term: { principal: principalHash(principal) } })
    let last: string | undefined
    do {
      const { hits } = await search({
        query, size: PAGE, sort: ['key'], ...last !== undefined && { search_after: [last] }
      })
      yield hits.map(({ _source }) => _source)
      last = hits.length < PAGE ? undefined : hits[PAGE - 1]._source.key
    } while (last !== undefined)
  }

  function filter (...conditions: object[]) {
    return { bool: { filter: [{ term: { space } }, ...conditions] } }
  }

  function live () {
    return { range: { expiresAt: { gt: clock.now() } } }
  }

  function sourceOf (key: string, record: StoredRecord, { principal, createdAt }: RecordIndex): Source {
    const { value, version, expiresAt } = record
    return {
      space,
      key,
      ...typeof value === 'string' ? { text: value } : { bytes: Buffer.from(value).toString('base64') },
      version,
      createdAt,
      expiresAt,
      ...principal !== null && { principal: principalHash(principal) }
    }
  }

  function document (api: string, key: string) {
    return `${api}/${encodeURIComponent(space + key)}`
  }

  function isLive ({ expiresAt }: Source) {
    return expiresAt > clock.now()
  }

  return {
    async read (key) {
      const seen = await load(key)
      return seen !== null && isLive(seen.source) ? recordOf(seen.source) : null
    },

    async create (key, record, index) {
      const created = put(key, sourceOf(key, record, index))
      if (await created(null)) return true
      return await settle(key, live => live === null ? created : ours(live, record)) === 'ok'
    },

    async update (key, record, index, ifVersion) {
      const updated = put(key, sourceOf(key, record, index))
      return settle(key, live => {
        if (live === null) return 'missing'
        return live.version === ifVersion ? updated : ours(live, record)
      })
    },

    async touch (key, expiresAt) {
      const request = { method: 'POST', path: document('_update', key), body: { doc: { expiresAt } } }
      const touched: Write = seen => write(request, seen)
      return await settle(key, live => live === null ? 'missing' : touched) === 'ok'
    },

    async remove (key, ifVersion) {
      return settle(key, live => {
        if (live === null) return 'missing'
        return ifVersion === undefined || live.version === ifVersion ? drop(key) : 'conflict'
      })
    },

    async * keysOf (principal) {
      for await (const page of found(principal)) {
        for (const source of page) {
          const { key, createdAt, expiresAt } = source
          yield { key, createdAt, expiresAt, record: recordOf(source) }
        }
      }
    },

    async removeAllOf (principal, except) {
      const owner = principalHash(principal)
      let removed = 0
      for await (const page of found(principal)) {
        const results = await Promise.all(page
          .filter(({ key }) => key !== except)
          .map(({ key }) => settle(key, live => live?.principal === owner ? drop(key) : 'missing')))
        removed += results.filter(result => result === 'ok').length
      }
      return removed
    },

    async sweep (now, limit) {
      await ask({ method: 'POST', path: '_refresh' })
      const { body } = await ask({
        method: 'POST',
        path: '_delete_by_query',
        querystring: { conflicts: 'proceed', max_docs: limit },
        body: { query: filter({ range: { expiresAt: { lte: now } } }) }
      })
      return body.deleted!
    },

    async count () {
      const { total } = await search({ query: filter(live()), size: 0, track_total_hits: true })
      return total!.value
    },

    async ping () {
      await checkIndex(await connection.get(), index)
    },

    ...connection.close && { close: () => connection.close!() }
  }
}

/** What the client sends again because the answer was lost is in its own way. */
function ours (live: Source, record: StoredRecord): WriteResult {
  return live.version === record.version ? 'ok' : 'conflict'
}

function recordOf ({ text, bytes, version, expiresAt }: Source): StoredRecord {
  return { value: text ?? Buffer.from(bytes!, 'base64'), version, expiresAt }
}
