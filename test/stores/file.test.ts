import { mkdtempSync } from 'node:fs'
import { mkdir, readFile, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openBackend, testBackend, TestClock } from '../../lib/testing/index.js'
import { fileStore } from '../../stores/file.js'
import { fileLocks } from '../../stores/file-lock.js'
import { newKey } from '../../lib/testing/backend-lab.js'

const tmp = mkdtempSync(join(tmpdir(), 'file-store-'))
t.teardown(() => rm(tmp, { recursive: true, force: true }))

const suite = join(tmp, 'suite')
testBackend({
  test: t.test.bind(t),
  store: space => fileStore({ directory: join(suite, space) }),
  abilities: ['keysOf', 'removeAllOf', 'sweep', 'count', 'ping'],
  engine: {
    async stop () {
      await rename(suite, suite + '-away')
      await writeFile(suite, 'not a directory')
    },
    async start () {
      await rm(suite)
      await rename(suite + '-away', suite)
    }
  },
  rounds: 300,
  numRuns: 20
})

let spaces = 0
interface Setting { maxEntries?: number, mode?: number, namespace?: string, directory?: string }

async function open (options: Setting = {}) {
  const { namespace, ...rest } = options
  const directory = options.directory ?? join(tmp, `space${++spaces}`)
  const clock = new TestClock()
  const { backend, close } = await openBackend(fileStore({ directory, ...rest }), { clock, namespace })
  const pathOf = (key: string) => join(directory, key.slice(0, 2), key)
  const add = (key: string, seconds = 600, value: string | Uint8Array = 'data') => backend.create(
    key, { value, version: newKey(), expiresAt: clock.now() + seconds * 1000 },
    { principal: 'ada', createdAt: clock.now() })
  return { backend, close, clock, directory, pathOf, add }
}

async function filesOf (directory: string) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(({ name }) => name)
}

t.test('opening makes nothing; the first write makes private directories and files', async t => {
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const parent = join(tmp, 'private')
  const directory = join(parent, 'sessions')
  const { backend, add, pathOf } = await open({ directory })
  const key = newKey()
  t.equal(await backend.read(key), null)
  t.equal(await backend.remove(key), 'missing')
  await t.rejects(stat(parent), { code: 'ENOENT' })

  await add(key)
  const seen = new Set<string>()
  const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)
  for (const path of [parent, directory, join(directory, key.slice(0, 2))]) t.equal(await modeOf(path), '700')
  for (let i = 0; i < 3; i++) {
    seen.add(await modeOf(pathOf(key)))
    await backend.touch(key, (await backend.read(key))!.expiresAt + 1)
  }
  t.strictSame([...seen], ['600'])
  t.strictSame(await filesOf(directory), [key], 'a write leaves no other file behind')
})

t.test('a wider mode opens the directories too, as far as the files', async t => {
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const { add, pathOf, directory } = await open({ mode: 0o640 })
  const key = newKey()
  await add(key)
  t.equal((await stat(pathOf(key))).mode & 0o777, 0o640)
  t.equal((await stat(directory)).mode & 0o777, 0o750)
  t.throws(() => fileStore({ mode: 0o400 }), { code: 'FST_SESSIONS_OPTION', message: /mode must be a file mode/ })
})

t.test('the directory is .sessions of the working directory at boot', async t => {
  const before = process.cwd()
  t.teardown(() => process.chdir(before))
  const home = join(tmp, 'home')
  await mkdir(home)
  process.chdir(home)
  const { backend, close } = await openBackend(fileStore())
  process.chdir(tmp)
  const record = { value: 'data', version: '1', expiresAt: Date.now() + 1000 }
  await backend.create(newKey(), record, { principal: null, createdAt: 0 })
  t.strictSame(await readdir(home), ['.sessions'])
  await close()
})

t.test('sessions of several names have directories of their own, whatever the names', async t => {
  const directory = join(tmp, 'named')
  for (const namespace of ['auth', 'AUTH', '..', 'a/b', 'a']) await (await open({ directory, namespace })).add(newKey())
  await (await open({ directory })).add('xy' + newKey())
  t.strictSame((await readdir(directory)).sort(), ['@+a+u+t+h', '@..', '@a', '@a%2+fb', '@auth', 'xy'])
  t.equal(await (await open({ directory })).backend.count!(), 1)
})

t.test('maxEntries refuses a further session and never removes a live one', async t => {
  const { add, backend, clock } = await open({ maxEntries: 12 })
  const keys = Array.from({ length: 20 }, newKey)
  const results = await Promise.allSettled(keys.map((key, i) => add(key, i === 0 ? 60 : 600)))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 12, 'exact within one process')
  t.equal(await backend.count!(), 12)
  const refused = add(newKey())
  await t.rejects(refused, { code: 'FST_SESSIONS_STORE', message: /maxEntries allows \(12\)/ })
  for (const key of keys.slice(0, 12)) t.ok(await backend.read(key))
  t.equal(await backend.touch(keys[1], clock.now() + 600_000), true)

  clock.advance(60)
  t.equal(await add(newKey()), true, 'an expired session counts no more')
  await t.rejects(add(newKey()))
  await backend.remove(keys[1])
  clock.advance(1)
  t.equal(await add(newKey()), true)
  t.equal(await backend.count!(), 12)
})

t.test('a damaged file is handed on as it is, counts as a record and goes in the end', async t => {
  const { backend, add, pathOf, clock } = await open()
  const contents = ['', 'garbage', '\n', 'null\nvalue', '{"version":1,"expiresAt":"soon"}\nvalue', '{"version":"1"', '\u0000\u0000']
  for (const content of contents) {
    const key = newKey()
    await add(key)
    const damage = async () => {
      const written = new Date(Math.floor(clock.now() / 1000) * 1000)
      await writeFile(pathOf(key), content)
      await utimes(pathOf(key), written, written)
    }
    await damage()
    const found = await backend.read(key)
    t.strictSame(Buffer.from(found!.value).toString(), content)
    t.type(found!.value, Uint8Array)
    t.strictSame(await backend.read(key), found)
    t.equal((await add(key)), false, 'not overwritten')
    t.equal(await backend.remove(key, 'another'), 'conflict')
    t.equal(await backend.sweep!(clock.now(), 10), 0)
    clock.advance(24 * 60 * 60)
    t.equal(await backend.sweep!(clock.now(), 10), 1)

    await add(key)
    await damage()
    t.equal(await backend.remove(key, (await backend.read(key))!.version), 'ok')
    t.equal(await backend.read(key), null)
  }
})

t.test('a value keeps its kind and its bytes, line ends too', async t => {
  const { backend, add } = await open()
  for (const value of ['', '\n', 'a\nb\r\n', '{"a":1}\n{"b":2}', Uint8Array.of(), Uint8Array.of(10, 0, 255, 10)]) {
    const key = newKey()
    await add(key, 600, value)
    const found = (await backend.read(key))!.value
    t.equal(typeof found, typeof value)
    t.ok(Buffer.from(found as Uint8Array).equals(Buffer.from(value as Uint8Array)))
  }
})

t.test('sweep goes on where it stopped, so that batches do not read everything again', async t => {
  const { backend, add, clock, directory } = await open()
  for (const shard of ['aa', 'bb', 'cc']) await add(shard + newKey(), 60)
  clock.advance(60)
  const left = async () => (await filesOf(directory)).map(name => name.slice(0, 2)).sort()
  t.equal(await backend.sweep!(clock.now(), 1), 1)
  t.equal(await backend.sweep!(clock.now(), 1), 1)
  t.strictSame(await left(), ['cc'])
  await add('aa' + newKey(), -60)
  t.equal(await backend.sweep!(clock.now(), 1), 1)
  t.strictSame(await left(), ['aa'])
  t.equal(await backend.sweep!(clock.now(), 5), 1)
  t.strictSame(await left(), [])
})

t.test('sweep removes what dead processes left, and nothing that somebody may be using', async t => {
  const { backend, add, clock, pathOf, directory } = await open()
  const key = newKey()
  await add(key)
  const own = fileLocks({ mode: 0o600 }).temporary('').slice(1, -4)
  const dead = own.replace(/\.\d+\.\d+\./, `.${process.pid}.1.`)
  const foreign = own.replace(/^\w+/, 'elsewhere')
  const leftovers: Record<string, string> = {
    [`${key}.${own}.tmp`]: 'being written',
    [`${key}.${dead}.tmp`]: 'half a rec',
    [`${key}.${foreign}.tmp`]: 'half a rec',
    [`${key}.lock.${dead}.tmp`]: dead,
    'one.lock': own,
    'two.lock': dead,
    'three.lock': foreign,
    'four.lock': '',
    'nonsense.tmp': '',
    '.DS_Store': 'not ours'
  }
  const folder = join(pathOf(key), '..')
  for (const [name, content] of Object.entries(leftovers)) await writeFile(join(folder, name), content)
  await symlink('nowhere', join(folder, 'vanished.lock'))
  await backend.sweep!(clock.now(), 10)
  t.strictSame((await filesOf(directory)).sort(),
    [key, `${key}.${own}.tmp`, `${key}.${foreign}.tmp`, 'one.lock', 'three.lock', 'four.lock', 'nonsense.tmp', '.DS_Store'].sort())

  clock.advance(25 * 60 * 60)
  await backend.touch(key, clock.now() + 1)
  await backend.sweep!(clock.now(), 10)
  t.strictSame((await filesOf(directory)).sort(), [`${key}.${own}.tmp`, 'one.lock', '.DS_Store'].sort())
  t.equal(await readFile(join(folder, `${key}.${own}.tmp`), 'utf8'), 'being written')
})

t.test('a failure names neither key nor data', async t => {
  const { backend, add, pathOf } = await open()
  const key = newKey()
  await add(key, 600, 'private')
  await rm(pathOf(key))
  await mkdir(pathOf(key))
  const failure = await backend.read(key).catch((error: Error) => error)
  t.type(failure, Error)
  t.notMatch((failure as Error).message, key)
})
