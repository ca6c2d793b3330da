import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { newKey, newKeys } from '../../lib/testing/backend-lab.js'
import { openBackend } from '../../lib/testing/index.js'
import { fileStore } from '../../stores/file.js'

const tmp = mkdtempSync(join(tmpdir(), 'file-processes-'))
t.teardown(() => rm(tmp, { recursive: true, force: true }))
const worker = fileURLToPath(new URL('file/worker.ts', import.meta.url))
const index = { principal: null, createdAt: 0 }

let spaces = 0
async function open () {
  const directory = join(tmp, `space${++spaces}`)
  const { backend } = await openBackend(fileStore({ directory }))
  const add = (key: string) =>
    backend.create(key, { value: '0', version: newKey(), expiresAt: Date.now() + 600_000 }, index)
  return { backend, directory, add }
}

/** Starts a worker. Its lines are an event each; `ended` has the last one. */
function start (job: string, directory: string, ...keys: string[]) {
  const child = spawn(process.execPath, ['--import', './scripts/typescript.js', worker, job, directory, ...keys],
    { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)
  const all: string[] = []
  lines.on('line', line => all.push(line))
  return { child, lines, ended: once(child, 'close').then(() => all) }
}

t.test('four processes count on one record: no step is lost, none counted twice', async t => {
  const { backend, directory, add } = await open()
  const key = newKey()
  await add(key)
  const ended = await Promise.all(Array.from({ length: 4 }, () => start('count', directory, key).ended))
  t.equal((await backend.read(key))?.value, '200')
  t.comment(`conflicts: ${ended.join(', ')}`)
})

t.test('a record removed while another process updates it is never alive afterwards', async t => {
  const { backend, directory, add } = await open()
  const keys = newKeys(300)
  for (const key of keys) await add(key)
  const { lines, ended } = start('write', directory, ...keys)
  let alive = 0
  lines.on('line', async line => {
    const key = line.split(' ')[1]
    while ((await backend.read(key))?.value === '0') await sleep(1)
    await sleep(Math.random() * 4)
    await backend.remove(key)
    for (; await backend.read(key) !== null; await backend.remove(key)) alive++
  })
  t.equal((await ended).length, 300)
  for (const key of keys) if (await backend.read(key) !== null) alive++
  t.equal(alive, 0)
})

t.test('a hundred processes killed in the middle of their writes lose nothing acknowledged, leave nothing locked', async t => {
  const { backend, directory } = await open()
  let acknowledged = 0
  let interrupted = 0

  async function kill () {
    const keys = newKeys(5)
    const { child, lines, ended } = start('flood', directory, ...keys)
    await once(lines, 'line')
    await sleep(30 + Math.random() * 100)
    child.kill('SIGKILL')
    const rounds = keys.map(() => 0)
    for (const line of (await ended).filter(line => /^\d+ \d+$/.test(line))) {
      const [i, round] = line.split(' ').map(Number)
      rounds[i] = round
      acknowledged++
    }
    const left = await strays(directory)
    if (left.some(name => keys.some(key => name.includes(key)))) interrupted++

    const begun = performance.now()
    for (const [i, key] of keys.entries()) {
      const found = await backend.read(key)
      if (found === null) {
        t.ok(rounds[i] % 50 === 0, 'only a removed one, or one never acknowledged, is missing')
        continue
      }
      const value = String(found.value)
      const round = parseInt(value)
      t.ok(value === `${round} `.repeat(2000), 'whole')
      t.ok(round >= rounds[i], 'as new as what was acknowledged')
      t.equal(await backend.update(key, { ...found, value: 'next', version: newKey() }, index, found.version), 'ok')
      t.equal(await backend.touch(key, found.expiresAt), true)
    }
    t.ok(performance.now() - begun < 5000, 'no lock is waited for until its lease is over')
  }

  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let kills = 0; kills < 25; kills++) await kill()
  }))
  t.ok(acknowledged > 100, `acknowledged writes: ${acknowledged}`)
  t.ok(interrupted > 0, `kills that left something behind: ${interrupted}`)
  await backend.sweep!(Date.now(), 10_000)
  t.strictSame(await strays(directory), [], 'sweep removes the leftovers of the dead')
})

t.test('a disk that is full fails the write and keeps nothing of it', async t => {
  const { backend, directory } = await open()
  const key = newKey()
  const script = 'ulimit -f 1000; exec "$0" --import ./scripts/typescript.js "$@"'
  const limited = spawn('sh', ['-c', script, process.execPath, worker, 'overflow', directory, key],
    { stdio: ['ignore', 'pipe', 'inherit'] })
  const [code] = await once(createInterface(limited.stdout), 'line')
  t.equal(code, 'EFBIG')
  t.equal(await backend.read(key), null)
  t.strictSame(await strays(directory), [])
})

async function strays (directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).filter(name => name.includes('.'))
}
