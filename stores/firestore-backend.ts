import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentReference, DocumentSnapshot, Precondition, Timestamp } from '@google-cloud/firestore'
import { principalHash } from '../lib/define-store.js'
import type { StoreContext } from '../lib/define-store.js'
import { StoreError, TooLargeError } from '../lib/errors.js'
import type { RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import type { Connection } from './firestore-client.js'

/** What is to be done about a document as it was found: nothing more, or a write on condition. */
type Decision = WriteResult | ((document: DocumentReference) => Promise<unknown>)

/** Bytes of a value. A document may have 1 048 576, with its path and the other fields. */
const LARGEST = 1_047_000
/** What is read of a document to decide about it. */
const DECISIVE = ['version', 'principal', 'expiresAt']
/** How often a write is decided anew because somebody else was faster. */
const ATTEMPTS = 20
/** How many sessions of a principal are looked at together. */
const PAGE = 100
/** How many documents are removed at once. */
const WIDTH = 50

/** gRPC's NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION and ABORTED: the document is not what it was. */
const overtaken = [5, 6, 9, 10]

/** The verbs, on the documents of one collection. */
export function firestoreBackend (
  { ask, close }: Connection, collection: string, clock: StoreContext['clock']
): SessionBackend {
  const pathOf = (key: string) => `${collection}/${key}`

  async function look (key: string, fieldMask?: string[]): Promise<DocumentSnapshot> {
    const options = fieldMask === undefined ? [] : [{ fieldMask }]
    const [found] = await ask(firestore => firestore.getAll(firestore.doc(pathOf(key)), ...options))
    return found
  }

  async function change (key: string, decide: (found: DocumentSnapshot) => Decision): Promise<WriteResult> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const decision = decide(await look(key, DECISIVE))
      if (typeof decision === 'string') return decision
      if (await wins(ask(firestore => decision(firestore.doc(pathOf(key)))))) return 'ok'
      await sleep(Math.random() * Math.min(100, 10 * 2 ** attempt))
    }
    throw new StoreError(`a document was changed by others ${ATTEMPTS} times while it was to be written`)
  }

  function removeIf (key: string, isMeant: (found: DocumentSnapshot) => boolean): Promise<WriteResult> {
    return change(key, found => {
      if (!isLive(found)) return 'missing'
      return isMeant(found) ? document => document.delete(unchanged(found)) : 'conflict'
    })
  }

  /** The live sessions of one principal. */
  async function * pagesOf (owner: string): AsyncIterable<DocumentSnapshot[]> {
    const query = (firestore: Parameters<Parameters<typeof ask>[0]>[0]) =>
      firestore.collection(collection).where('principal', '==', owner).limit(PAGE)
    let { docs } = await ask(firestore => query(firestore).get())
    for (;;) {
      yield docs.filter(isLive)
      const last = docs.at(-1)
      if (last === undefined || docs.length < PAGE) return
      docs = (await ask(firestore => query(firestore).startAfter(last).get())).docs
    }
  }

  function isLive (found: DocumentSnapshot): boolean {
    return found.exists && millis(found, 'expiresAt') > clock.now()
  }

  return {
    async read (key) {
      const found = await look(key)
      return isLive(found) ? recordOf(found) : null
    },

    async create (key, record, index) {
      const fields = fieldsOf(record, index)
      if (await wins(ask(firestore => firestore.doc(pathOf(key)).create(fields)))) return true
      return await change(key, found => {
        if (!found.exists) return document => document.create(fields)
        if (!isLive(found)) return document => document.update(fields, unchanged(found))
        return found.get('version') === record.version ? 'ok' : 'conflict'
      }) === 'ok'
    },

    async update (key, record, index, ifVersion) {
      const fields = fieldsOf(record, index)
      return change(key, found => {
        if (!isLive(found)) return 'missing'
        const version = found.get('version')
        // The driver sends a write again when its answer was lost; what is in the way is then the first one.
        if (version === record.version) return 'ok'
        return version === ifVersion ? document => document.update(fields, unchanged(found)) : 'conflict'
      })
    },

    async touch (key, expiresAt) {
      return await change(key, found => {
        if (!isLive(found)) return 'missing'
        return document => document.update({ expiresAt: new Date(expiresAt) }, unchanged(found))
      }) === 'ok'
    },

    remove (key, ifVersion) {
      if (ifVersion !== undefined) return removeIf(key, found => found.get('version') === ifVersion)
      return change(key, found => isLive(found) ? document => document.delete({ exists: true }) : 'missing')
    },

    async * keysOf (principal) {
      for await (const page of pagesOf(principalHash(principal))) {
        for (const found of page) {
          const record = recordOf(found)
          const { expiresAt } = record
          yield { key: found.id, createdAt: millis(found, 'createdAt'), expiresAt, record }
        }
      }
    },

    async removeAllOf (principal, except) {
      const owner = principalHash(principal)
      const isTheirs = (found: DocumentSnapshot) => found.get('principal') === owner
      let removed = 0
      for await (const page of pagesOf(owner)) {
        const doomed = page.filter(({ id }) => id !== except)
        const results = await inParts(doomed, ({ id }) => removeIf(id, isTheirs))
        removed += results.filter(result => result === 'ok').length
      }
      return removed
    },

    async sweep (now, limit) {
      const { docs } = await ask(firestore =>
        firestore.collection(collection).where('expiresAt', '<=', new Date(now)).limit(limit).select().get())
      const results = await inParts(docs, found => wins(ask(() => found.ref.delete(unchanged(found)))))
      return results.filter(Boolean).length
    },

    async count () {
      const live = await ask(firestore =>
        firestore.collection(collection).where('expiresAt', '>', new Date(clock.now())).count().get())
      return live.data().count
    },

    async ping () {
      await look('ping')
    },

    close
  }
}

/** False: somebody else was faster. */
async function wins (write: Promise<unknown>): Promise<boolean> {
  try {
    await write
    return true
  } catch (error) {
    if (!overtaken.includes((error as { code: number }).code)) throw error
    return false
  }
}

async function inParts<T, R> (items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let first = 0; first < items.length; first += WIDTH) {
    results.push(...await Promise.all(items.slice(first, first + WIDTH).map(work)))
  }
  return results
}

/** A write on this condition is refused when the document was written since it was found. */
function unchanged ({ updateTime }: DocumentSnapshot): Precondition {
  return { lastUpdateTime: updateTime }
}

function fieldsOf ({ value, version, expiresAt }: StoredRecord, { principal, createdAt }: RecordIndex) {
  const size = Buffer.byteLength(value)
  if (size > LARGEST) throw new TooLargeError(size, LARGEST)
  return {
    value,
    version,
    principal: principal === null ? null : principalHash(principal),
    createdAt: new Date(createdAt),
    expiresAt: new Date(expiresAt)
  }
}

function recordOf (found: DocumentSnapshot): StoredRecord {
  return { value: found.get('value'), version: found.get('version'), expiresAt: millis(found, 'expiresAt') }
}

function millis (found: DocumentSnapshot, field: string): number {
  return (found.get(field) as Timestamp).toMillis()
}
