import { createHash } from 'node:crypto'
import { mkdir, readFile, readdir, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Type } from '@sinclair/typebox'
import type { IndexedKey, Instant, RecordIndex, SessionBackend, StoredRecord, WriteResult } from '../types/store.js'
import { defineStore, inTurn } from '../lib/define-store.js'
import { StoreError } from '../lib/errors.js'
import { fileLocks, unless } from './file-lock.js'

/** How long a damaged file is kept for whoever looks into it, and a leftover whose maker cannot be asked. */
const KEEP = 24 * 60 * 60 * 1000

interface Entry { record: StoredRecord, index: RecordIndex }

/** Keeps each session in a file of its own. For one host, or a volume that several share. */
export const fileStore = defineStore({
  type: 'file',
  options: Type.Object({
    directory: Type.String({
      minLength: 1,
      default: '.sessions',
      description: 'Where the files are, relative to the working directory at boot. Made at the first write.'
    }),
    mode: Type.Integer({
      minimum: 0o600,
      maximum: 0o777,
      default: 0o600,
      expects: 'a file mode that lets the owner read and write, such as 0o600',
      description: 'Permissions of the files; who may read a file may also enter its directory.'
    }),
    maxEntries: Type.Optional(Type.Integer({
      minimum: 1,
      description: 'How many live sessions there may be. A further one is refused with an error.'
    }))
  }),

  open ({ directory, mode, maxEntries }, { clock, namespace }) {
    const root = resolve(directory, folderName(namespace))
    const folderMode = mode | (mode & 0o444) >> 2
    const locks = fileLocks({ mode })
    const admission = inTurn()
    let room = 0
    let fullUntil = 0
    let sweptUpTo = ''

    const folderOf = (key: string) => join(root, key.slice(0, 2))
    const pathOf = (key: string) => join(folderOf(key), key)

    async function load (key: string): Promise<Entry | null> {
      const entry = await readEntry(pathOf(key))
      return entry !== null && clock.now() < entry.record.expiresAt ? entry : null
    }

    /** Only under the key's lock. A reader sees the old file or the new one, whole. */
    async function save (key: string, content: Buffer): Promise<void> {
      const temporary = locks.temporary(pathOf(key))
      try {
        await writeFile(temporary, content, { flag: 'wx', mode })
        await rename(temporary, pathOf(key))
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    }

    function locked<T> (key: string, work: () => Promise<T>): Promise<T> {
      return locks.hold(`${pathOf(key)}.lock`, work)
    }

    /** Every write takes the lock, a touch too: otherwise a sweep could remove what was just prolonged. */
    async function change (
      key: string, ifVersion: string | undefined, act: (current: Entry) => Promise<void>
    ): Promise<WriteResult> {
      const early = await find(key, ifVersion)
      if (typeof early === 'string') return early
      return locked(key, async () => {
        const current = await find(key, ifVersion)
        if (typeof current === 'string') return current
        await act(current)
        return 'ok'
      })
    }

    async function find (key: string, ifVersion: string | undefined): Promise<Entry | 'missing' | 'conflict'> {
      const entry = await load(key)
      if (entry === null) return 'missing'
      return ifVersion === undefined || entry.record.version === ifVersion ? entry : 'conflict'
    }

    async function add (key: string, content: Buffer): Promise<boolean> {
      await mkdir(folderOf(key), { recursive: true, mode: folderMode })
      return locked(key, async () => {
        if (await load(key) !== null) return false
        await save(key, content)
        return true
      })
    }

    /** Counting reads every file, so a tenth of what is free is given out at once. */
    async function makeRoom (most: number): Promise<void> {
      if (room-- > 0) return
      if (clock.now() >= fullUntil) {
        const free = most - await count()
        room = Math.floor((free - 1) / 10)
        if (free > 0) return
        fullUntil = clock.now() + 1000
      }
      throw new StoreError(`the file store is full: there are as many sessions as maxEntries allows (${most})`)
    }

    async function folders (): Promise<string[]> {
      const names = await unless('ENOENT', readdir(root)) ?? []
      return names.filter(name => /^[\w-]{2}$/.test(name)).sort()
    }

    async function * entries (): AsyncGenerator<{ key: string } & Entry> {
      for (const folder of await folders()) {
        for (const key of (await readdir(join(root, folder))).filter(isKey)) {
          const entry = await load(key)
          if (entry !== null) yield { key, ...entry }
        }
      }
    }

    async function * keysOf (principal: string): AsyncGenerator<IndexedKey> {
      for await (const { key, record, index } of entries()) {
        if (index.principal !== principal) continue
        yield { key, createdAt: index.createdAt, expiresAt: record.expiresAt, record }
      }
    }

    async function count (): Promise<number> {
      let found = 0
      const all = entries()
      while (!(await all.next()).done) found++
      return found
    }

    async function isExpired (key: string, now: Instant): Promise<boolean> {
      const entry = await readEntry(pathOf(key))
      return entry !== null && entry.record.expiresAt <= now
    }

    async function removeExpired (key: string, now: Instant): Promise<boolean> {
      if (!await isExpired(key, now)) return false
      return locked(key, async () => {
        if (!await isExpired(key, now)) return false
        await unlink(pathOf(key))
        return true
      })
    }

    const backend: SessionBackend = {
      async read (key) {
        return (await load(key))?.record ?? null
      },

      async create (key, record, index) {
        const content = encode(record, index)
        if (maxEntries === undefined) return add(key, content)
        return admission('', async () => {
          await makeRoom(maxEntries)
          return add(key, content)
        })
      },

      async update (key, record, index, ifVersion) {
        const content = encode(record, index)
        return change(key, ifVersion, () => save(key, content))
      },

      async touch (key, expiresAt) {
        const move = ({ record, index }: Entry) => save(key, encode({ ...record, expiresAt }, index))
        return await change(key, undefined, move) === 'ok'
      },

      async remove (key, ifVersion) {
        return change(key, ifVersion, () => unlink(pathOf(key)))
      },

      keysOf,

      async removeAllOf (principal, except) {
        let removed = 0
        for await (const { key } of keysOf(principal)) {
          if (key !== except && await backend.remove(key) === 'ok') removed++
        }
        return removed
      },

      async sweep (now, limit) {
        let removed = 0
        const all = await folders()
        const next = all.findIndex(folder => folder >= sweptUpTo)
        for (const folder of [...all.slice(next), ...all.slice(0, next)]) {
          sweptUpTo = folder
          for (const name of await readdir(join(root, folder))) {
            if (/\.(lock|tmp)$/.test(name)) await locks.tidy(join(root, folder, name), now - KEEP)
            else if (isKey(name) && await removeExpired(name, now) && ++removed === limit) return removed
          }
        }
        return removed
      },

      count,

      async ping () {
        await mkdir(root, { recursive: true, mode: folderMode })
      }
    }
    return { backend }
  }
})

/** No shard has an @ in its name. Capitals are marked for file systems that do not tell them apart. */
function folderName (namespace: string): string {
  if (namespace === '') return ''
  return '@' + encodeURIComponent(namespace).replace(/[A-Z]/g, letter => '+' + letter.toLowerCase())
}

const isKey = (name: string) => !name.includes('.')

/** A line of JSON, then the value as it is. */
function encode ({ value, version, expiresAt }: StoredRecord, { principal, createdAt }: RecordIndex): Buffer {
  const bytes = typeof value !== 'string'
  const header = JSON.stringify({ version, expiresAt, createdAt, principal, bytes })
  return Buffer.concat([Buffer.from(header + '\n'), bytes ? value : Buffer.from(value)])
}

async function readEntry (path: string): Promise<Entry | null> {
  return unless('ENOENT', readFile(path).then(content => decode(content) ?? damaged(path, content)))
}

function decode (content: Buffer): Entry | null {
  const end = content.indexOf('\n')
  try {
    const { version, expiresAt, createdAt, principal, bytes } = JSON.parse(content.toString('utf8', 0, end))
    if (typeof version !== 'string' || typeof expiresAt !== 'number') return null
    const value = content.subarray(end + 1)
    return {
      record: { value: bytes === true ? Uint8Array.from(value) : value.toString(), version, expiresAt },
      index: { principal, createdAt }
    }
  } catch {
    return null
  }
}

/** Handed on as it is, so that whoever decodes the value reports it. Its age stands in for its expiry. */
async function damaged (path: string, content: Buffer): Promise<Entry> {
  const { mtimeMs } = await stat(path)
  return {
    record: {
      value: Uint8Array.from(content),
      version: createHash('sha256').update(content).digest('base64url'),
      expiresAt: Math.ceil(mtimeMs) + KEEP
    },
    index: { principal: null, createdAt: Math.floor(mtimeMs) }
  }
}
