import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import { memoryStore } from '../../stores/memory.js'
import { openBackend, TestClock, testBackend } from '../../lib/testing/index.js'
import type { SessionBackend } from '../../types/store.js'

testBackend({
  test,
  store: () => memoryStore(),
  abilities: ['keysOf', 'removeAllOf', 'sweep', 'count'],
  shared: false
})

/** A store of `maxEntries`, its clock, and what it warned of. */
async function opened (maxEntries: number) {
  const clock = new TestClock()
  const warnings: [object, string][] = []
  const warn = (...line: [object, string]) => warnings.push(line)
  const log = { debug () {}, info () {}, error () {}, warn }
  const { backend, close } = await openBackend(memoryStore({ maxEntries }), { clock, log })
  const record = (seconds: number) =>
    ({ value: 'data', version: '1', expiresAt: clock.now() + seconds * 1000 })
  const create = (key: string, seconds = 600, principal: string | null = null) =>
    backend.create(key, record(seconds), { principal, createdAt: clock.now() })
  return { clock, warnings, backend, close, record, create }
}

async function kept (backend: SessionBackend, keys: string) {
  const found = await Promise.all([...keys].map(async key => await backend.read(key) === null ? '' : key))
  return found.join('')
}

test('when full, the one not written or touched for longest goes', async (t) => {
  const { backend, create, record, clock, close } = await opened(3)
  for (const key of 'abc') await create(key)
  await backend.touch('a', clock.now() + 1000)
  await backend.read('b')
  await create('d')
  t.equal(await kept(backend, 'abcd'), 'acd')
  await backend.update('c', record(600), { principal: null, createdAt: 0 }, '1')
  await create('e')
  t.equal(await kept(backend, 'abcde'), 'cde')
  await create('f')
  t.equal(await kept(backend, 'cdef'), 'cef')
  t.equal(await backend.count?.(), 3)
  await close()
})

test('when full, expired sessions go before live ones', async (t) => {
  const { backend, create, clock, warnings, close } = await opened(3)
  await create('a')
  await create('b', 1)
  await create('c', 1)
  clock.advance(1)
  await create('d')
  await create('e')
  t.equal(await kept(backend, 'abcde'), 'ade')
  t.strictSame(warnings, [])
  await close()
})

test('expired sessions are looked for once a second, the oldest one each time', async (t) => {
  const { backend, create, clock, warnings, close } = await opened(4)
  for (const key of 'ab') await create(key)
  await create('c', 0.2)
  await create('d')
  await create('e')
  t.equal(await kept(backend, 'abcde'), 'bcde', 'none was expired')
  clock.advance(0.2)
  await create('f')
  t.equal(await kept(backend, 'bcdef'), 'def', 'c was not looked for')
  await create('g')
  t.equal(await kept(backend, 'defg'), 'defg', 'c was the oldest')
  clock.advance(60)
  await create('h')
  t.match(warnings, [[{ evicted: 1 }], [{ evicted: 2 }]], 'a; then b and d, but not c')
  await close()
})

test('an update of an existing key evicts nothing, nor does a create that loses', async (t) => {
  const { backend, create, record, warnings, close } = await opened(2)
  await create('a')
  await create('b')
  t.equal(await create('a'), false)
  t.equal(await backend.update('a', record(60), { principal: 'ada', createdAt: 0 }, '1'), 'ok')
  t.equal(await kept(backend, 'ab'), 'ab')
  t.strictSame(warnings, [])
  await close()
})

test('an evicted session leaves the user index', async (t) => {
  const { backend, create, close } = await opened(1)
  await create('a', 600, 'ada')
  await create('b', 600, 'bob')
  for await (const item of backend.keysOf!('ada')) t.fail(item.key)
  await create('a', 600, 'bob')
  t.equal(await backend.removeAllOf?.('ada'), 0)
  t.equal(await backend.removeAllOf?.('bob'), 1)
  await close()
})

test('a principal without sessions takes no memory', async (t) => {
  setFlagsFromString('--expose-gc')
  const gc: () => void = runInNewContext('gc')
  const { backend, create, close } = await opened(10)
  gc()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 50_000; i++) {
    await create('a', 600, `principal ${i}`)
    await backend.remove('a')
  }
  gc()
  t.ok(process.memoryUsage().heapUsed - before < 5_000_000)
  await close()
})

test('evictions are told once a minute, with their number', async (t) => {
  const { create, clock, warnings, close } = await opened(2)
  for (const key of 'abcdefg') await create(key)
  t.match(warnings, [[{ evicted: 1, maxEntries: 2 }, /maxEntries/]])
  clock.advance(59.999)
  await create('h')
  t.equal(warnings.length, 1)
  clock.advance(0.001)
  await create('i')
  t.match(warnings[1], [{ evicted: 6, maxEntries: 2 }, /full/])
  t.notMatch(JSON.stringify(warnings), /data|"[a-i]"/)
  await close()
})

test('in production it warns at boot', async (t) => {
  const { NODE_ENV } = process.env
  t.teardown(() => {
    if (NODE_ENV === undefined) delete process.env.NODE_ENV
    else process.env.NODE_ENV = NODE_ENV
  })
  process.env.NODE_ENV = 'production'
  const { warnings, close } = await opened(1)
  t.match(warnings, [[{}, /memory store loses all sessions at a restart/]])
  await close()
  process.env.NODE_ENV = 'development'
  const development = await opened(1)
  t.strictSame(development.warnings, [])
  await development.close()
})

test('maxEntries is checked', async (t) => {
  for (const maxEntries of [0, -1, 1.5, NaN]) {
    t.throws(() => memoryStore({ maxEntries }),
      /^memory store option maxEntries must be a whole number of at least 1/)
  }
})
