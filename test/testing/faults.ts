import type { BackendSuite } from '../../lib/testing/backend-suite.js'
import { systemClock } from '../../lib/base/clock.js'
import type { IndexedKey, RecordIndex, StoredRecord } from '../../types/store.js'
import { atWholeSeconds, expiring, limitedTo, overwrite, overNetwork } from './store-with.js'
import type { Fault, Whole } from './store-with.js'

interface NamedFault {
  name: string
  /** The numbers of the cases that find it: these and no others. */
  found: number[]
  fault: Fault
  options?: Partial<BackendSuite>
}

const DAY = 86_400_000

/** Mistakes that authors of stores make. */
export const faults: NamedFault[] = []

function fault (name: string, found: number[], fault: Fault, options?: Partial<BackendSuite>) {
  faults.push({ name, found, fault, options })
}

function reading (sound: Whole, change: (found: StoredRecord) => Partial<StoredRecord>) {
  return {
    async read (key: string) {
      const found = await sound.read(key)
      return found && { ...found, ...change(found) }
    }
  }
}

// --- abilities and reading

fault('an ability was not declared', [0],
  () => ({}), { abilities: ['keysOf', 'removeAllOf', 'sweep', 'count'] })

fault('a missing record is undefined', [1, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 20, 23, 24, 25, 27, 29, 30],
  sound => ({
    read: async key => (await sound.read(key)) ?? undefined as unknown as null
  }))

fault('bytes come back as text', [2, 5, 18, 21, 29, 30],
  sound => reading(sound, ({ value }) => ({ value: String(value) })))

fault('text comes back as bytes', [2, 4, 5, 8, 10, 14, 16, 17, 18, 20, 22, 23, 24, 27, 28, 29, 30],
  sound => reading(sound, ({ value }) => ({ value: Buffer.from(value) })))

fault('text is trimmed', [2], sound => reading(sound, ({ value }) => ({
  value: typeof value === 'string' ? value.trim() : value
})))

fault('text is kept in one byte per character', [2, 18], sound => reading(sound, ({ value }) => ({
  value: typeof value === 'string' ? Buffer.from(value, 'latin1').toString('latin1') : value
})))

// --- create

fault('create overwrites and says that it did not', [3, 4, 27, 30], (sound, { raw }) => ({
  async create (key, record, index) {
    const free = await sound.read(key) === null
    await overwrite(raw, key, record, index)
    return free
  }
}))

fault('create that loses changes the index', [3, 30], (sound, { raw }) => ({
  async create (key, record, index) {
    if (await sound.create(key, record, index)) return true
    const { value, version, expiresAt } = (await raw.read(key))!
    await overwrite(raw, key, { value, version, expiresAt }, index)
    return false
  }
}))

fault('create is check, then write', [4], (sound, { raw }) => ({
  async create (key, record, index) {
    if (await sound.read(key) !== null) return false
    await sound.ping()
    return overwrite(raw, key, record, index)
  }
}))

fault('create fails on an expired record that the engine still holds', [10, 13, 15, 29, 30],
  (sound, { clock }) => {
    const until = new Map<string, number>()
    return {
      async create (key, record, index) {
        if ((until.get(key) ?? Infinity) <= clock.now()) return false
        until.set(key, record.expiresAt)
        return sound.create(key, record, index)
      }
    }
  })

// --- update

fault('update creates what is missing', [6, 7, 12, 17, 23, 29, 30], sound => ({
  async update (key, record, index, ifVersion) {
    const result = await sound.update(key, record, index, ifVersion)
    if (result === 'missing') await sound.create(key, record, index)
    return result === 'missing' ? 'ok' : result
  }
}))

fault('update says missing, but creates', [6, 7, 12, 17, 23, 25, 29, 30], sound => ({
  async update (key, record, index, ifVersion) {
    const result = await sound.update(key, record, index, ifVersion)
    if (result === 'missing') await sound.create(key, record, index)
    return result
  }
}))

fault('update is check, then write', [22, 23, 29], (sound, { raw }) => ({
  async update (key, record, index, ifVersion) {
    const found = await sound.read(key)
    if (found === null) return 'missing'
    if (found.version !== ifVersion) return 'conflict'
    await sound.ping()
    await overwrite(raw, key, record, index)
    return 'ok'
  }
}))

fault('update has a lock that only its own instance knows', [22, 23], (sound, { raw }) => {
  let turn: Promise<unknown> = Promise.resolve()
  const locked = <T> (run: () => Promise<T>) => {
    const result = turn.then(run)
    turn = result.catch(() => {})
    return result
  }
  return {
    touch: (key, expiresAt) => locked(() => sound.touch(key, expiresAt)),
    remove: (key, ifVersion) => locked(() => sound.remove(key, ifVersion)),
    removeAllOf: (principal, except) => locked(() => sound.removeAllOf(principal, except)),
    update: (key, record, index, ifVersion) => locked(async () => {
      const found = await sound.read(key)
      if (found === null) return 'missing'
      if (found.version !== ifVersion) return 'conflict'
      await sound.ping()
      await overwrite(raw, key, record, index)
      return 'ok'
    })
  }
})

fault('update ignores the version', [5, 10, 22, 29, 30], sound => ({
  async update (key, record, index) {
    const found = await sound.read(key)
    return found === null ? 'missing' : sound.update(key, record, index, found.version)
  }
}))

fault('update keeps the version when the value is the same', [5], sound => ({
  async update (key, record, index, ifVersion) {
    const found = await sound.read(key)
    const version = found?.value === record.value ? found.version : record.version
    return sound.update(key, { ...record, version }, index, ifVersion)
  }
}))

fault('update forgets the expiry', [5, 13, 27, 30], sound => ({
  async update (key, record, index, ifVersion) {
    const { expiresAt } = await sound.read(key) ?? record
    return sound.update(key, { ...record, expiresAt }, index, ifVersion)
  }
}))

fault('update confuses conflict with missing', [6, 7, 12, 17, 23, 29, 30], sound => ({
  async update (key, record, index, ifVersion) {
    const result = await sound.update(key, record, index, ifVersion)
    return result === 'missing' ? 'conflict' : result
  }
}))

fault('removed records can be updated', [7, 30], (sound, { raw }) => {
  const removed = new Set<string>()
  return {
    async remove (key, ifVersion) {
      const result = await sound.remove(key, ifVersion)
      if (result === 'ok') removed.add(key)
      return result
    },
    async update (key, record, index, ifVersion) {
      const result = await sound.update(key, record, index, ifVersion)
      if (result === 'missing' && removed.has(key)) await overwrite(raw, key, record, index)
      return result
    }
  }
})

fault('versions count from one for each record', [5, 10], sound => ({
  create: (key, record, index) => sound.create(key, { ...record, version: '1' }, index),
  update: (key, record, index, ifVersion) =>
    sound.update(key, { ...record, version: String(Number(ifVersion) + 1) }, index, ifVersion)
}))

// --- touch

fault('touch creates what is missing', [8, 12, 17, 24, 29, 30], sound => ({
  async touch (key, expiresAt) {
    if (await sound.touch(key, expiresAt)) return true
    return sound.create(key, { value: '', version: 'touched', expiresAt }, { principal: null, createdAt: 0 })
  }
}))

fault('touch is read, then write', [24, 29, 30], (sound, { raw }) => ({
  async touch (key, expiresAt) {
    const found = await sound.read(key)
    if (found === null) return false
    await sound.ping()
    return overwrite(raw, key, { ...found, expiresAt }, { principal: null, createdAt: 0 })
  }
}))

fault('touch makes a version', [8, 14, 24, 29, 30], sound => ({
  async touch (key, expiresAt) {
    const found = await sound.read(key)
    if (found === null) return false
    const record = { ...found, expiresAt, version: found.version + '+' }
    return await sound.update(key, record, { principal: null, createdAt: 0 }, found.version) === 'ok'
  }
}))

fault('touch only lengthens', [8, 13, 27, 30], sound => ({
  async touch (key, expiresAt) {
    const found = await sound.read(key)
    return sound.touch(key, Math.max(expiresAt, found?.expiresAt ?? 0))
  }
}))

fault('touch says true whatever was there', [8, 12, 17, 25, 30], sound => ({
  touch: async (key, expiresAt) => await sound.touch(key, expiresAt) || true
}))

// --- remove

fault('remove ignores the version', [5, 9, 23], sound => ({ remove: key => sound.remove(key) }))

fault('remove of one version is check, then remove', [23], sound => ({
  async remove (key, ifVersion) {
    const found = await sound.read(key)
    if (found === null) return 'missing'
    if (ifVersion !== undefined && found.version !== ifVersion) return 'conflict'
    return sound.remove(key)
  }
}))

fault('remove gives up when somebody else writes', [23], sound => ({
  async remove (key, ifVersion) {
    const found = await sound.read(key)
    if (found === null) return 'missing'
    await sound.ping()
    const result = await sound.remove(key, ifVersion ?? found.version)
    return ifVersion === undefined ? 'ok' : result
  }
}))

fault('remove of a missing record rejects', [9, 12, 17, 30], sound => ({
  async remove (key, ifVersion) {
    const result = await sound.remove(key, ifVersion)
    if (result === 'missing') throw new Error('not found')
    return result
  }
}))

fault('remove says ok whatever was there', [9, 12, 17, 30], sound => ({
  async remove (key, ifVersion) {
    const result = await sound.remove(key, ifVersion)
    return result === 'missing' ? 'ok' : result
  }
}))

// --- expiry

fault('expiry is left to the engine, whose own time has not come', [4, 10, 11, 12, 13, 15, 25, 29, 30],
  async (_sound, { engine, recordsOf, space, namespace }) =>
    overNetwork(engine, await recordsOf(space, namespace, systemClock)))

fault('a record expires one millisecond late', [4, 11, 12, 15, 21, 25, 29, 30],
  sound => expiring(sound, e => e + 1, e => e - 1))

fault('a record expires one millisecond early', [11, 21, 29, 30],
  sound => expiring(sound, e => e - 1, e => e + 1))

fault('expired records can be touched', [12, 30], (sound, { clock }) => {
  const until = new Map<string, StoredRecord>()
  return {
    async create (key, record, index) {
      const created = await sound.create(key, record, index)
      if (created) until.set(key, { ...record })
      return created
    },
    async touch (key, expiresAt) {
      const record = until.get(key)
      const dead = record !== undefined && record.expiresAt <= clock.now()
      return await sound.touch(key, expiresAt) || (dead &&
        await sound.create(key, { ...record, expiresAt }, { principal: null, createdAt: 0 }))
    }
  }
})

fault('a time to live of nothing is refused', [13, 30], (sound, { clock }) => ({
  async touch (key, expiresAt) {
    if (expiresAt <= clock.now()) throw new RangeError('invalid expire time')
    return sound.touch(key, expiresAt)
  }
}))

fault('expiry is kept in 31 bits of seconds', [14],
  sound => expiring(sound, e => Math.min(e, 2 ** 31 * 1000)))

fault('more than 30 days are taken for a date', [14], (sound, { clock }) =>
  expiring(sound, e => e - clock.now() > 30 * DAY ? e - clock.now() : e))

fault('one timer for each record', [14], sound => ({
  async touch (key, expiresAt) {
    clearTimeout(setTimeout(() => {}, expiresAt - Date.now()))
    return sound.touch(key, expiresAt)
  }
}))

fault('expiry is rounded up to whole seconds', [11, 15], atWholeSeconds)

fault('expiry is rounded down to whole seconds', [11, 15], sound =>
  expiring(sound, e => Math.floor(e / 1000) * 1000))

// --- keys, spaces and values

const cases = new Map<string, string>()
fault('keys are the same in upper and lower case', [16], sound => {
  const same = (key: string) => {
    if (!cases.has(key.toLowerCase())) cases.set(key.toLowerCase(), key)
    return cases.get(key.toLowerCase())!
  }
  return {
    read: key => sound.read(same(key)),
    create: (key, record, index) => sound.create(same(key), record, index),
    update: (key, record, index, ifVersion) => sound.update(same(key), record, index, ifVersion),
    touch: (key, expiresAt) => sound.touch(same(key), expiresAt),
    remove: (key, ifVersion) => sound.remove(same(key), ifVersion)
  }
})

fault('the namespace is forgotten', [16, 17], async (_sound, { engine, recordsOf, space }) =>
  overNetwork(engine, await recordsOf(space, '')))

fault('two names make one prefix', [17], async (_sound, { engine, recordsOf, space, namespace }) =>
  overNetwork(engine, await recordsOf(space + namespace, 'one')))

fault('values are cut at 64 kB', [18], sound => {
  const cut = (record: StoredRecord) => ({ ...record, value: record.value.slice(0, 65_536) })
  return {
    create: (key, record, index) => sound.create(key, cut(record), index),
    update: (key, record, index, ifVersion) => sound.update(key, cut(record), index, ifVersion)
  }
})

fault('the limit is not named', [18], limitedTo(1000, 'too large'), { maxValue: 1000 })

fault('the limit is counted in characters', [18], sound => {
  const check = ({ value }: StoredRecord) => {
    if (value.length > 1000) throw new RangeError('more than 1000')
  }
  return {
    async create (key, record, index) {
      check(record)
      return sound.create(key, record, index)
    },
    async update (key, record, index, ifVersion) {
      check(record)
      return sound.update(key, record, index, ifVersion)
    }
  }
}, { maxValue: 1000 })

fault('a value that is too large is found out after the write', [18], sound => ({
  async create (key, record, index) {
    const created = await sound.create(key, record, index)
    if (record.value.length > 1000) throw new RangeError('more than 1000 bytes')
    return created
  }
}), { maxValue: 1000 })

fault('what is handed in is kept by reference', [21], sound => {
  const kept = new Map<string, StoredRecord>()
  return {
    async create (key, record, index) {
      const created = await sound.create(key, record, index)
      if (created) kept.set(record.version, record)
      return created
    },
    ...reading(sound, ({ version, value }) => ({ value: kept.get(version)?.value ?? value }))
  }
})

fault('what is handed out is handed out again', [21], sound => {
  const read = new Map<string, Uint8Array>()
  return reading(sound, ({ version, value }) => {
    if (typeof value === 'string') return {}
    if (!read.has(version)) read.set(version, value)
    return { value: read.get(version)! }
  })
})

// --- the engine

fault('an engine that is down has no records', [20],
  sound => ({ read: key => sound.read(key).catch(() => null) }))

fault('an engine that is silent has no records', [20], (sound, { engine }) => ({
  read: async key => engine.state === 'silent' ? null : sound.read(key)
}))

fault('a failed connection is remembered', [20], sound => {
  let failed: Promise<never> | undefined
  return {
    read (key) {
      const result = failed ?? sound.read(key)
      result.catch(() => { failed = result as Promise<never> })
      return result
    }
  }
})

fault('it connects at boot', [20], async (sound) => {
  await sound.ping()
  return {}
})

fault('sweep forgets the limit', [25, 30], sound => ({ sweep: now => sound.sweep(now, Infinity) }))

fault('sweep is find, then remove', [25], (sound, { raw, clock }) => ({
  async sweep (now, limit) {
    if (now === clock.now()) return sound.sweep(now, limit)
    const found: string[] = []
    for await (const { key, expiresAt } of raw.keysOf('ada')) if (expiresAt <= now) found.push(key)
    await sound.ping()
    for (const key of found) await raw.remove(key)
    return found.length
  }
}))

fault('count counts expired records', [25, 30], sound => {
  let count = 0
  return {
    async create (key, record, index) {
      const created = await sound.create(key, record, index)
      if (created) count++
      return created
    },
    count: async () => { await sound.ping(); return count }
  }
})

const timers: NodeJS.Timeout[] = []
/** Ends what the faults have left. */
export const stopTimers = () => timers.forEach(timer => clearInterval(timer))

fault('close leaves a timer', [26], () => {
  timers.push(setInterval(() => {}, 60_000))
  return {}
})

fault('an instance remembers what it has read', [20, 27], (sound, { clock }) => {
  const read = new Map<string, StoredRecord | null>()
  const forget = <T> (key: string, result: Promise<T>) => result.finally(() => read.delete(key))
  return {
    async read (key) {
      if ((read.get(key)?.expiresAt ?? 0) <= clock.now()) read.set(key, await sound.read(key))
      return structuredClone(read.get(key)!)
    },
    create: (key, record, index) => forget(key, sound.create(key, record, index)),
    update: (key, record, index, ifVersion) => forget(key, sound.update(key, record, index, ifVersion)),
    touch: (key, expiresAt) => forget(key, sound.touch(key, expiresAt)),
    remove: (key, ifVersion) => forget(key, sound.remove(key, ifVersion)),
    removeAllOf: (principal, except) => sound.removeAllOf(principal, except).finally(() => read.clear())
  }
})

const migrating = new Set<string>()
fault('two that migrate at once fail', [28], (sound, { space }) => {
  let ready: Promise<void> | undefined
  async function migrate () {
    if (migrating.has(space)) throw new Error('the table exists')
    migrating.add(space)
    await sound.ping().finally(() => migrating.delete(space))
  }
  return {
    async create (key, record, index) {
      await (ready ??= migrate().catch(error => { ready = undefined; throw error }))
      return sound.create(key, record, index)
    }
  }
})

// --- the user index

function indexing (sound: Whole, change: (principal: string) => string) {
  const indexOf = ({ principal, createdAt }: RecordIndex) =>
    ({ principal: principal === null ? null : change(principal), createdAt })
  return {
    create: (key: string, record: StoredRecord, index: RecordIndex) =>
      sound.create(key, record, indexOf(index)),
    update: (key: string, record: StoredRecord, index: RecordIndex, ifVersion: string) =>
      sound.update(key, record, indexOf(index), ifVersion),
    keysOf: (principal: string) => sound.keysOf(change(principal)),
    removeAllOf: (principal: string, except?: string) => sound.removeAllOf(change(principal), except)
  }
}

fault('the index does not follow an update', [21, 29, 30], sound => {
  const first = new Map<string, RecordIndex>()
  return {
    async create (key, record, index) {
      const created = await sound.create(key, record, index)
      if (created) first.set(key, index)
      return created
    },
    update: (key, record, index, ifVersion) => sound.update(key, record, first.get(key) ?? index, ifVersion)
  }
})

fault('the index is in lower case', [29], sound => ({
  ...indexing(sound, principal => principal.toLowerCase())
}))

fault('the index takes 255 characters', [29], sound => ({
  ...indexing(sound, principal => principal.slice(0, 255))
}))

fault('the index shows expired sessions', [29, 30], (sound, { clock }) => {
  const seen = new Map<string, IndexedKey & RecordIndex>()
  return {
    async create (key, record, index) {
      const created = await sound.create(key, record, index)
      if (created) seen.set(key, { key, expiresAt: record.expiresAt, ...index })
      return created
    },
    async * keysOf (principal) {
      yield * sound.keysOf(principal)
      for (const item of seen.values()) {
        if (item.principal === principal && item.expiresAt <= clock.now()) yield item
      }
    }
  }
})

fault('the index forgets when it was created', [29, 30], sound => ({
  async * keysOf (principal) {
    for await (const item of sound.keysOf(principal)) yield { ...item, createdAt: item.expiresAt }
  }
}))

fault('the index ends at a hundred', [29], sound => ({
  async * keysOf (principal) {
    let count = 0
    for await (const item of sound.keysOf(principal)) if (count++ < 100) yield item
  }
}))

fault('removeAllOf spares nobody', [29, 30],
  sound => ({ removeAllOf: principal => sound.removeAllOf(principal) }))

fault('removeAllOf counts the one it spares', [29, 30], sound => ({
  async removeAllOf (principal, except) {
    const removed = await sound.removeAllOf(principal, except)
    return except === undefined ? removed : removed + 1
  }
}))

fault('removeAllOf removes the versions it has listed', [29], (sound, { raw }) => ({
  async removeAllOf (principal, except) {
    const doomed: IndexedKey[] = []
    for await (const item of sound.keysOf(principal)) if (item.key !== except) doomed.push(item)
    await sound.ping()
    const results = []
    for (const { key, record } of doomed) results.push(await raw.remove(key, record!.version))
    return results.filter(result => result === 'ok').length
  }
}))

// --- what only a sequence finds

fault('count misses what was touched twice', [30], sound => {
  const touched = new Map<string, number>()
  return {
    async touch (key, expiresAt) {
      const result = await sound.touch(key, expiresAt)
      if (result) touched.set(key, (touched.get(key) ?? 0) + 1)
      return result
    },
    async count () {
      return Math.max(0, await sound.count() - [...touched.values()].filter(times => times > 1).length)
    }
  }
})
