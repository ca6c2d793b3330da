import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { test } from 'tap'
import type { Test } from 'tap'
import { noMemcached, startMemcached } from '../engines/memcached.js'
import { noMongodb, startMongodb } from '../engines/mongodb.js'
import { noPostgres, startPostgres } from '../engines/postgres.js'
import { noRedis, startRedis } from '../engines/redis.js'
import type { StoreData } from '../helpers/worker-app.js'
import { openWorkerApp } from '../helpers/worker-app.js'
import { onlyLong, size } from './size.js'

interface Case { skip: string | false, start (t: Test): Promise<StoreData> }

const CLIENTS = 30
/** Milliseconds after which a process does not end by itself. */
const LATE = 20_000
const cases: Record<string, Case> = {
  file: { skip: false, start: async t => ({ type: 'file', directory: t.testdir() }) },
  redis: { skip: noRedis, start: async t => ({ type: 'redis', url: (await startRedis(t)).url }) },
  sqlite: {
    skip: onlyLong,
    start: async t => ({ type: 'sql', dialect: 'sqlite', filename: join(t.testdir(), 'db'), createTable: true })
  },
  postgres: {
    skip: noPostgres || onlyLong,
    start: async t => ({ type: 'sql', dialect: 'postgres', url: (await startPostgres(t)).url, createTable: true })
  },
  memcached: {
    skip: noMemcached || onlyLong,
    start: async t => ({ type: 'memcached', servers: [(await startMemcached(t)).url] })
  },
  mongodb: {
    skip: noMongodb || onlyLong,
    start: async t => ({ type: 'mongodb', url: (await startMongodb(t)).url, database: 'closing' })
  }
}

for (const [name, { skip, start }] of Object.entries(cases)) {
  test(`${name}: close() under load`, { skip }, async t => {
    const store = await start(t)
    for (let round = 0; round < size(1, 10); round++) await closeUnderLoad(t, store)
  })
}

/** What was begun is finished, and stored; then the process ends by itself. */
async function closeUnderLoad (t: Test, store: StoreData): Promise<void> {
  const program = join(import.meta.dirname, 'closing-app.ts')
  const child = spawn(process.execPath, ['--import', './scripts/typescript.js', program, JSON.stringify(store)],
    { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const port = Number((await lines.next()).value)

  const agent = new Agent({ keepAlive: true })
  const stored = new Map<string, string>()
  let sent = 0
  let isClosing = false
  let refused = 0
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (refused === 0) {
      const path = `/set/${++sent}`
      const answer = await post(port, path, agent).catch((error: Error) => error)
      if (!(answer instanceof Error) && answer.status === 200) stored.set(answer.cookie, path.slice(5))
      // Fastify refuses what comes on open connections, and so does the system what is new.
      else if (isClosing) refused++
      else t.fail(`refused before that: ${JSON.stringify(answer)}`)
      if (stored.size > 5 * CLIENTS && !isClosing) {
        isClosing = true
        child.kill('SIGTERM')
      }
    }
  }))
  const late = setTimeout(() => child.kill('SIGKILL'), LATE)
  const { begun, answered } = JSON.parse((await lines.next()).value ?? '{}')
  t.strictSame(await exited, [0, null], 'it ends by itself')
  clearTimeout(late)
  agent.destroy()
  t.equal(answered, begun, 'what was begun is finished')
  t.ok(stored.size > 5 * CLIENTS)

  const app = await openWorkerApp(store)
  t.teardown(() => app.close())
  let missing = 0
  for (const [cookie, n] of stored) {
    const { data } = (await app.inject({ url: '/', headers: { cookie } })).json()
    if (data.n !== n) missing++
  }
  t.equal(missing, 0, 'what was answered is stored')
}

async function post (port: number, path: string, agent: Agent): Promise<{ status: number, cookie: string }> {
  const sending = request({ host: 'localhost', port, path, method: 'POST', agent }).end()
  const [response] = await once(sending, 'response')
  await text(response)
  const [cookie = ''] = response.headers['set-cookie'] ?? []
  return { status: response.statusCode, cookie: cookie.split(';')[0] }
}
