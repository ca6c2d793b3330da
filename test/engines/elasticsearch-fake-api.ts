/** The indexes and documents of the FAKE of Elasticsearch. */

type Json = Record<string, unknown>

interface Document { source: Json, seqNo: number, term: number, version: number }

export interface Index {
  uuid: string
  settings: Json
  dynamic: boolean
  properties: Record<string, Json>
  /** What a get sees. */
  documents: Map<string, Document>
  /** What a search sees. */
  searchable: Map<string, Document>
  nextSeqNo: number
  term: number
}

export interface Reply { status: number, body?: unknown }

/** An error as Elasticsearch tells it. */
export class Refusal extends Error {
  readonly reply: Reply

  constructor (status: number, type: string, reason: string, more: Json = {}) {
    super(reason)
    const cause = { type, reason, ...more }
    this.reply = { status, body: { error: { root_cause: [cause], ...cause }, status } }
  }
}

const shards = { total: 2, successful: 1, failed: 0 }
interface Call {
  indexes: Map<string, Index>
  name: string
  id: string
  query: Record<string, string>
  body: Json
}

interface Route {
  /** The parameters that it knows. */
  query?: string[]
  run (call: Call): Reply | Promise<Reply>
}

const condition = ['if_seq_no', 'if_primary_term']

export const routes: Record<string, Route> = {
  'PUT /index': {
    run ({ indexes, name, body }) {
      if (indexes.has(name)) throw badRequest('resource_already_exists_exception', `index [${name}] exists`)
      if (/[A-Z]|^[_-]/.test(name)) throw badRequest('invalid_index_name_exception', `Invalid index name [${name}]`)
      const { settings = {}, mappings = {} } = body as { settings?: Json, mappings?: Json }
      addIndex(indexes, name, settings, mappings)
      return ok({ acknowledged: true, shards_acknowledged: true, index: name })
    }
  },
  'DELETE /index': {
    run ({ indexes, name }) {
      get(indexes, name)
      indexes.delete(name)
      return ok({ acknowledged: true })
    }
  },
  'GET /index/_mapping': {
    run ({ indexes, name }) {
      const { dynamic, properties } = get(indexes, name)
      return ok({ [name]: { mappings: { ...!dynamic && { dynamic: 'false' }, properties } } })
    }
  },
  'POST /index/_refresh': {
    run ({ indexes, name }) {
      const index = get(indexes, name)
      index.searchable = new Map(index.documents)
      return ok({ _shards: shards })
    }
  },
  'GET /index/_doc/id': {
    query: ['_source_excludes'],
    run ({ indexes, name, id, query }) {
      const found = get(indexes, name).documents.get(id)
      if (found === undefined) return { status: 404, body: { _index: name, _id: id, found: false } }
      const excluded = (query._source_excludes ?? '').split(',')
      const kept = Object.entries(found.source).filter(([field]) => !excluded.includes(field))
      const source = Object.fromEntries(kept)
      return ok({ _index: name, _id: id, ...numbers(found), found: true, _source: source })
    }
  },
  'PUT /index/_create/id': {
    run ({ indexes, name, id, body }) {
      const index = indexes.get(name) ?? addIndex(indexes, name, {}, {})
      const found = index.documents.get(id)
      if (found !== undefined) {
        throw conflict(name, index, id, `document already exists (current version [${found.version}])`)
      }
      return { status: 201, body: written(name, id, 'created', store(index, id, body)) }
    }
  },
  'PUT /index/_doc/id': {
    query: condition,
    run ({ indexes, name, id, query, body }) {
      const index = indexes.get(name) ?? addIndex(indexes, name, {}, {})
      meet(name, index, id, query)
      const result = index.documents.has(id) ? 'updated' : 'created'
      const status = result === 'created' ? 201 : 200
      return { status, body: written(name, id, result, store(index, id, body)) }
    }
  },
  'POST /index/_update/id': {
    query: condition,
    run ({ indexes, name, id, query, body }) {
      const index = get(indexes, name)
      const found = index.documents.get(id)
      if (found === undefined) throw new Refusal(404, 'document_missing_exception', `[${id}]: document missing`)
      meet(name, index, id, query)
      if (Object.keys(body).join() !== 'doc') {
        throw badRequest('x_content_parse_exception', 'the fake updates by [doc] only')
      }
      const source = { ...found.source, ...body.doc as Json }
      if (JSON.stringify(source) === JSON.stringify(found.source)) return ok(written(name, id, 'noop', found))
      return ok(written(name, id, 'updated', store(index, id, source)))
    }
  },
  'DELETE /index/_doc/id': {
    query: condition,
    run ({ indexes, name, id, query }) {
      const index = get(indexes, name)
      meet(name, index, id, query)
      const found = index.documents.get(id)
      const version = (found?.version ?? 0) + 1
      const removed = { source: {}, seqNo: index.nextSeqNo++, term: index.term, version }
      index.documents.delete(id)
      if (found === undefined) return { status: 404, body: written(name, id, 'not_found', removed) }
      return ok(written(name, id, 'deleted', removed))
    }
  },
  'POST /index/_search': {
    query: ['allow_partial_search_results'],
    run ({ indexes, name, body }) {
      const { query, size = 10, sort: [by] = [], search_after: after, track_total_hits: total, ...rest } =
        body as unknown as Search
      if (Object.keys(rest).length > 0) throw badRequest('parsing_exception', `Unknown key for [${Object.keys(rest)}]`)
      if (size > 10_000) throw badRequest('illegal_argument_exception', 'Result window is too large')
      const index = get(indexes, name)
      if (by !== undefined && index.properties[by]?.type !== 'keyword') {
        throw badRequest('search_phase_execution_exception', `No mapping found for [${by}] in order to sort on`)
      }
      const found = matching(index, query)
      if (by !== undefined) found.sort(([, a], [, b]) => String(a.source[by]) < String(b.source[by]) ? -1 : 1)
      const hits = found
        .filter(([, { source }]) => after === undefined || String(source[by]) > after[0])
        .slice(0, size)
        .map(([id, { source }]) => ({
          _index: name, _id: id, _score: null, _source: source, ...by !== undefined && { sort: [source[by]] }
        }))
      const value = total === true ? found.length : Math.min(found.length, 10_000)
      const relation = value < found.length ? 'gte' : 'eq'
      return ok({
        took: 1,
        timed_out: false,
        _shards: { ...shards, skipped: 0 },
        hits: { total: { value, relation }, max_score: null, hits }
      })
    }
  },
  'POST /index/_delete_by_query': {
    query: ['conflicts', 'max_docs'],
    async run ({ indexes, name, query, body }) {
      const index = get(indexes, name)
      const limit = Number(query.max_docs ?? Infinity)
      const found = matching(index, body.query as Query)
      // Others write between the search and the bulk request that deletes.
      await new Promise(resolve => setImmediate(resolve))
      const result = { deleted: 0, version_conflicts: 0, failures: [] as unknown[] }
      for (const [id, { seqNo, term }] of found) {
        if (result.deleted === limit) break
        const current = index.documents.get(id)
        if (current?.seqNo === seqNo && current.term === term) {
          index.documents.delete(id)
          index.nextSeqNo++
          result.deleted++
        } else {
          result.version_conflicts++
          if (query.conflicts === 'proceed') continue
          throw conflict(name, index, id, required(seqNo, term, current))
        }
      }
      return ok({
        took: 1,
        timed_out: false,
        total: Math.min(found.length, limit),
        batches: 1,
        noops: 0,
        ...result,
        retries: { bulk: 0, search: 0 },
        throttled_millis: 0,
        requests_per_second: -1,
        throttled_until_millis: 0
      })
    }
  }
}

interface Search {
  query: Query
  size?: number
  sort?: string[]
  search_after?: string[]
  track_total_hits?: boolean
}
interface Query { bool: { filter: Condition[] } }
interface Condition { term?: Record<string, string>, range?: Record<string, { gt?: number, lte?: number }> }

function matching (index: Index, query: Query): Array<[string, Document]> {
  if (Object.keys(query?.bool ?? {}).join() !== 'filter') {
    throw badRequest('parsing_exception', 'the fake knows [bool] with [filter] only')
  }
  return [...index.searchable].filter(([, { source }]) => {
    return query.bool.filter.every(condition => matches(index, source, condition))
  })
}

/** Only what is in the mapping can be found. Text is analysed, so that a term is not found there. */
function matches ({ properties }: Index, source: Json, { term, range, ...rest }: Condition): boolean {
  if (Object.keys(rest).length > 0) throw badRequest('parsing_exception', `unknown query [${Object.keys(rest)}]`)
  const [[field, wanted]] = Object.entries(term ?? range ?? {})
  const value = source[field]
  if (term !== undefined) return properties[field]?.type === 'keyword' && value === wanted
  if (properties[field]?.type !== 'long') return false
  const { gt = -Infinity, lte = Infinity } = wanted as { gt?: number, lte?: number }
  return Number(value) > gt && Number(value) <= lte
}

function addIndex (indexes: Map<string, Index>, name: string, settings: Json, mappings: Json): Index {
  const index: Index = {
    uuid: `uuid-of-${name}`,
    settings,
    dynamic: String(mappings.dynamic) !== 'false',
    properties: { ...mappings.properties as Record<string, Json> },
    documents: new Map(),
    searchable: new Map(),
    nextSeqNo: 0,
    term: 1
  }
  indexes.set(name, index)
  return index
}

function get (indexes: Map<string, Index>, name: string): Index {
  const index = indexes.get(name)
  if (index === undefined) {
    const more = { index: name, index_uuid: '_na_' }
    throw new Refusal(404, 'index_not_found_exception', `no such index [${name}]`, more)
  }
  return index
}

function store (index: Index, id: string, source: Json): Document {
  if (index.dynamic) {
    for (const [field, value] of Object.entries(source)) {
      index.properties[field] ??= typeof value === 'number'
        ? { type: 'long' }
        : { type: 'text', fields: { keyword: { type: 'keyword', ignore_above: 256 } } }
    }
  }
  const version = (index.documents.get(id)?.version ?? 0) + 1
  const document = { source, seqNo: index.nextSeqNo++, term: index.term, version }
  index.documents.set(id, document)
  return document
}

/** Refuses a write whose condition is not met. */
function meet (name: string, index: Index, id: string, query: Record<string, string>) {
  if (query.if_seq_no === undefined && query.if_primary_term === undefined) return
  if (query.if_seq_no === undefined || query.if_primary_term === undefined) {
    throw badRequest('action_request_validation_exception', 'if_seq_no and if_primary_term go together')
  }
  const [seqNo, term] = [Number(query.if_seq_no), Number(query.if_primary_term)]
  const found = index.documents.get(id)
  if (found?.seqNo === seqNo && found.term === term) return
  throw conflict(name, index, id, required(seqNo, term, found))
}

function required (seqNo: number, term: number, found?: Document): string {
  return `required seqNo [${seqNo}], primary term [${term}]. ` + (found === undefined
    ? 'but no document was found'
    : `current document has seqNo [${found.seqNo}] and primary term [${found.term}]`)
}

function conflict (name: string, index: Index, id: string, reason: string): Refusal {
  return new Refusal(409, 'version_conflict_engine_exception', `[${id}]: version conflict, ${reason}`,
    { index_uuid: index.uuid, shard: '0', index: name })
}

export function badRequest (type: string, reason: string): Refusal {
  return new Refusal(400, type, reason)
}

function ok (body: unknown): Reply {
  return { status: 200, body }
}

function numbers ({ version, seqNo, term }: Document) {
  return { _version: version, _seq_no: seqNo, _primary_term: term }
}

function written (name: string, id: string, result: string, document: Document) {
  return { _index: name, _id: id, ...numbers(document), result, _shards: shards }
}
