import Memcached from 'memcached'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import type { Test } from 'tap'
import { NEVER } from '../../lib/base/clock.js'
import { openBackend, testBackend, TestClock } from '../../lib/testing/index.js'
import { memcachedStore } from '../../stores/memcached.js'
import type { MemcachedClient } from '../../stores/memcached.js'
import type { SessionBackend } from '../../types/store.js'
import { noMemcached, noOwnMemcached, startMemcached, startOwnMemcached } from '../engines/memcached.js'
import { httpStories } from '../helpers/http-stories.js'
import { fourProcesses } from '../helpers/processes.js'

type Options = NonNullable<Parameters<typeof memcachedStore>[0]>

const index = { principal: null, createdAt: 1 }
const newKey = () => randomBytes(32).toString('base64url')
const newKeys = (count: number) => Array.from({ length: count }, newKey)
const record = (version: string, value: string | Uint8Array = 'data', expiresAt = Date.now() + 60_000) =>
  ({ value, version, expiresAt })

test('options', async t => {
  for (const servers of [[], [''], ['a b'], ['memcached://a'], [11211], 'localhost']) {
    t.throws(() => memcachedStore({ servers: servers as string[] }), {
      code: 'FST_SESSIONS_OPTION', message: /servers must be a list of servers, each 'host' or 'host:port'/
    })
  }
  for (const prefix of ['a b', 'ż', '$&', 'x'.repeat(101)]) {
    t.throws(() => memcachedStore({ prefix }), /prefix must be up to 100 letters, digits, _, -, : and dots/)
  }
  for (const client of [null, {}, { gets () {} }]) {
    t.throws(() => memcachedStore({ client: client as never }), /client must be a client of the package memcached/)
  }
  const client = new Memcached('127.0.0.1:1')
  await t.rejects(openBackend(memcachedStore({ client, servers: ['127.0.0.1:1'] })), {
    code: 'FST_SESSIONS_OPTION', message: 'memcached store options servers and client exclude each other'
  })
  for (const more of [{ remove: true }, { redundancy: 2 }, { failOverServers: ['127.0.0.1:2'] }]) {
    const risky = new Memcached('127.0.0.1:1', more)
    await t.rejects(openBackend(memcachedStore({ client: risky })), {
      code: 'FST_SESSIONS_OPTION',
      message: `memcached store option client must be one without the option ${Object.keys(more)}`
    })
  }
})

test('without options it is the memcached on this host', async t => {
  const backend = await open(t)
  const outcome = await backend.ping!().then(() => 'answers', (error: Error) => error.message)
  t.match(outcome, /answers|ECONNREFUSED.*11211/)
})

test('a server', { skip: noMemcached }, async t => {
  const { url, port, control } = await startMemcached(t)
  const servers = [url]

  await t.test('the suite', async t => {
    testBackend({
      test: t.test,
      store: prefix => memcachedStore({ servers, prefix }),
      abilities: ['ping'],
      maxValue: 785_664,
      engine: control && { ...control, stop: control.kill }
    })
  })

  await t.test('the suite, with a client of the application', async t => {
    const client = new Memcached(url, { namespace: 'app:' })
    t.teardown(() => client.end())
    testBackend({
      test: t.test,
      store: prefix => memcachedStore({ client, prefix }),
      abilities: ['ping'],
      maxValue: 785_664,
      rounds: 100,
      numRuns: 20
    })
  })

  await t.test('over HTTP', async t => {
    httpStories({ test: t.test, name: 'memcached', store: prefix => memcachedStore({ servers, prefix }) })
  })

  await t.test('in four processes', async t => {
    fourProcesses({ test: t.test, name: 'memcached', store: () => ({ type: 'memcached', servers }) })
  })

  await t.test('what is stored', async t => {
    const { backend, close } = await openBackend(memcachedStore({ servers, prefix: 'what:' }), { namespace: 'auth' })
    t.teardown(close)
    const [text, bytes] = newKeys(2)
    const { expiresAt } = record('1')
    await backend.create(text, record('one', 'ż\r\nEND', expiresAt), index)
    await backend.create(bytes, record('two', Uint8Array.of(0, 255), expiresAt), index)
    t.equal(await raw(port, `get what:auth:${text}`), item(`what:auth:${text}`, `t ${expiresAt} one xbwNCkVORA==`))
    t.equal(await raw(port, `get what:auth:${bytes}`), item(`what:auth:${bytes}`, `b ${expiresAt} two AP8=`))
  })

  await t.test('the time to live that memcached is given', async t => {
    const clock = new TestClock()
    const { backend, close } = await openBackend(memcachedStore({ servers, prefix: 'ttl:' }), { clock })
    t.teardown(close)
    const day = 86_400
    const now = clock.now()
    const [last, ever] = [2 ** 31 - now / 1000, (NEVER - now) / 1000]
    for (const seconds of [0.1, 60, 30 * day - 1, 30 * day, 400 * day, last - 3, last, ever]) {
      const [created, updated, touched] = newKeys(3)
      const expiresAt = now + seconds * 1000
      await backend.create(created, record('1', 'data', expiresAt), index)
      await backend.create(updated, record('1'), index)
      await backend.update(updated, record('2', 'data', expiresAt), index, '1')
      await backend.create(touched, record('1'), index)
      await backend.touch(touched, expiresAt)
      for (const key of [created, updated, touched]) {
        const left = Number(/^HD t(-?\d+)/.exec(await raw(port, `mg ttl:${key} t`))?.[1])
        if (seconds >= last) t.equal(left, -1, 'for ever')
        else t.ok(left >= seconds && left <= seconds + 4, `${left} s for ${seconds}`)
      }
    }
    for (const expiresAt of [now, now - 1, 0]) {
      const [created, touched] = newKeys(2)
      await backend.create(created, record('1', 'data', expiresAt), index)
      await backend.create(touched, record('1'), index)
      await backend.touch(touched, expiresAt)
      for (const key of [created, touched]) t.equal(await raw(port, `mg ttl:${key} t`), 'EN\r\n')
    }
  })

  await t.test('no item ends early, wherever in a second of memcached it begins', async t => {
    const backend = await open(t, { servers })
    await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      await sleep(i * 90)
      const key = newKey()
      const expiresAt = Date.now() + 900
      await backend.create(key, record('1', 'data', expiresAt), index)
      await sleep(expiresAt - 300 - Date.now())
      const found = await backend.read(key)
      if (Date.now() < expiresAt) t.equal(found?.value, 'data')
    }))
  })

  await t.test('what was removed is gone from memcached too', async t => {
    const backend = await open(t, { servers, prefix: 'gone:' })
    const [any, one] = newKeys(2)
    for (const key of [any, one]) await backend.create(key, record('1'), index)
    await backend.remove(any)
    await backend.remove(one, '1')
    for (const key of [any, one]) t.equal(await raw(port, `get gone:${key}`), 'END\r\n')
  })

  await t.test('what is no record is none, and makes room', async t => {
    const backend = await open(t, { servers, prefix: 'foreign:' })
    for (const text of ['hello', '', 't x y z']) {
      const key = newKey()
      await raw(port, `set foreign:${key} 0 0 ${text.length}\r\n${text}`)
      t.equal(await backend.read(key), null)
      t.equal(await backend.remove(key), 'missing')
      t.equal(await backend.create(key, record('1'), index), true)
      t.equal((await backend.read(key))?.value, 'data')
    }
  })

  await t.test('round trips', async t => {
    const client = new Memcached(url)
    t.teardown(() => client.end())
    const commands: string[] = []
    const backend = await open(t, { client: noting(client, commands), prefix: 'cost:' })
    async function cost (call: () => Promise<unknown>) {
      commands.length = 0
      await call()
      return commands.join()
    }
    const key = newKey()
    t.equal(await cost(() => backend.create(key, record('1'), index)), 'add')
    t.equal(await cost(() => backend.read(key)), 'gets')
    t.equal(await cost(() => backend.update(key, record('2'), index, '1')), 'gets,cas')
    t.equal(await cost(() => backend.update(key, record('3'), index, '1')), 'gets')
    t.equal(await cost(() => backend.touch(key, Date.now() + 90_000)), 'gets,cas')
    t.equal(await cost(() => backend.create(key, record('4'), index)), 'add,gets')
    t.equal(await cost(() => backend.remove(key, '2')), 'gets,cas')
    t.equal(await cost(() => backend.remove(key)), 'gets')
    t.equal(await cost(() => backend.ping!()), 'stats')
  })

  await t.test('an item that ends while it is looked at makes room', async t => {
    const client = new Memcached(url)
    t.teardown(() => client.end())
    const ending = noting(client, [])
    ending.gets = (key, done) => client.del(key, () => client.gets(key, done))
    const backend = await open(t, { client: ending })
    const key = newKey()
    t.equal(await backend.create(key, record('1'), index), true)
    t.equal(await backend.create(key, record('2'), index), true)
  })

  await t.test('a client of the application stays open', async t => {
    const client = new Memcached(url)
    t.teardown(() => client.end())
    const { backend, close } = await openBackend(memcachedStore({ client }))
    const key = newKey()
    await backend.create(key, record('1'), index)
    await close()
    t.equal((await new Promise<{ cas: string }>((resolve, reject) => {
      client.gets(`session:${key}`, (error, found) => error ? reject(error) : resolve(found))
    })).cas.length > 0, true)
  })

  await t.test('a connection that says nothing is given up: the next command opens another', async t => {
    const proxy = await startProxy(t, port)
    const backend = await open(t, { servers: [`127.0.0.1:${proxy.port}`], timeout: 0.3 })
    const key = newKey()
    await backend.create(key, record('1'), index)
    proxy.silence()
    const silent = { message: 'memcached did not answer in 0.3 s' }
    await Promise.all([t.rejects(backend.read(key), silent), t.rejects(backend.touch(key, 0), silent)])
    t.equal((await backend.read(key))?.value, 'data')
    t.equal(proxy.connections(), 2)
  })

  await t.test('a connection lost in the middle of a command is a failure', async t => {
    const proxy = await startProxy(t, port)
    const backend = await open(t, { servers: [`127.0.0.1:${proxy.port}`], timeout: 0.3 })
    await backend.read(newKey())
    proxy.silence()
    const lost = backend.read(newKey())
    setTimeout(proxy.reset, 50)
    await t.rejects(lost)
    t.equal(await backend.read(newKey()), null)
  })
})

test('several servers', { skip: noOwnMemcached }, async t => {
  const engines = await Promise.all([1, 2, 3].map(() => startOwnMemcached(t)))
  const servers = engines.map(({ url }) => url)
  const backend = await open(t, { servers })
  const peer = await open(t, { servers: [...servers].reverse() })
  const keys = newKeys(60)
  for (const key of keys) await backend.create(key, record('1'), index)

  await t.test('share the sessions, whatever the order of the list', async t => {
    for (const { port } of engines) {
      t.match(await raw(port, 'stats'), /STAT curr_items [1-9]/)
    }
    for (const key of keys) t.equal((await peer.read(key))?.value, 'data')
    await backend.ping!()
  })

  await t.test('one that is down is an error, never a missing session, and nobody takes its place', async t => {
    const timers = active('Timeout')
    await engines[1].control.kill()
    for (let round = 0; round < 2; round++) {
      const outcomes = await Promise.all(keys.map(key =>
        backend.read(key).then(found => found === null ? 'missing' : 'there', () => 'error')))
      t.notOk(outcomes.includes('missing'))
      t.ok(outcomes.includes('error') && outcomes.includes('there'))
      const key = keys[outcomes.indexOf('error')]
      await Promise.all([
        t.rejects(backend.create(key, record('2'), index)),
        t.rejects(backend.update(key, record('2'), index, '1')),
        t.rejects(backend.touch(key, Date.now() + 60_000)),
        t.rejects(backend.remove(key), { message: /ECONNREFUSED/ })
      ])
    }
    await t.rejects(backend.ping!())
    t.equal(active('Timeout'), timers, 'no timer is left that would keep the process alive')

    await engines[1].control.start()
    await backend.ping!()
    for (const key of keys) await backend.read(key)
    t.equal(await backend.create(newKey(), record('1'), index), true)
  })
})

test('what the server refuses is a failure, and what was there stays', { skip: noOwnMemcached }, async t => {
  const { url } = await startOwnMemcached(t, '-I', '512k')
  const large = 'x'.repeat(500_000)
  const backend = await open(t, { servers: [url] })
  const [key, other] = newKeys(2)
  await backend.create(key, record('1'), index)
  const refused = { message: 'object too large for cache' }
  await t.rejects(backend.create(other, record('1', large), index), refused)
  await t.rejects(backend.update(key, record('2', large), index, '1'), refused)
  t.equal((await backend.read(key))?.version, '1')
  t.equal(await backend.read(other), null)

  const forgetful = { failuresTimeout: 1, retry: 1 }
  const client = new Memcached(url, forgetful)
  t.teardown(() => client.end())
  const borrowing = await open(t, { client })
  await t.rejects(borrowing.create(other, record('1', large), index), { message: 'memcached refused the command' })

  const fitting = await open(t, { servers: [url], maxItemSize: 512 * 1024 })
  await t.rejects(fitting.create(other, record('1', large), index), {
    code: 'FST_SESSIONS_STORE',
    message: /memcached takes 392448 bytes with maxItemSize 524288, the session has 500000/
  })
  t.equal(await fitting.create(other, record('1', large.slice(0, 392_448)), index), true)
})

test('a client may fail in many ways', async t => {
  const answer = (error: unknown, result?: unknown) => (...args: unknown[]) => {
    const done = args.at(-1) as (error: unknown, result: unknown) => void
    done(error, result)
  }
  const key = newKey()
  for (const [gets, message] of [
    [answer(new Error('one')), 'one'],
    [answer([new Error('two')]), 'two'],
    [answer('three'), 'three'],
    [answer(undefined, false), 'memcached refused the command'],
    [answer(undefined, { [newKey()]: 't 9999999999999 1 eA==', cas: '1' }), 'memcached refused the command'],
    [() => {}, 'memcached did not answer in 0.1 s'],
    [() => { throw new Error('four') }, 'four']
  ] as const) {
    const client = { gets, add () {}, cas () {}, stats () {} } as unknown as MemcachedClient
    const backend = await open(t, { client, timeout: 0.1 })
    await t.rejects(backend.read(key), { message })
  }
  const held = { [`session:${key}`]: `t ${Date.now() + 60_000} 1 eA==`, cas: '7' }
  const client = { gets: answer(undefined, held), cas: answer(undefined, false), add () {}, stats () {} }
  const backend = await open(t, { client: client as unknown as MemcachedClient })
  await t.rejects(backend.touch(key, Date.now()), { message: 'memcached refused the command' })
})

async function open (t: Test, options?: Options): Promise<SessionBackend> {
  const { backend, close } = await openBackend(memcachedStore(options))
  t.teardown(close)
  return backend
}

/** Sends a command past the store. */
async function raw (port: number, command: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  let text = ''
  socket.write(`${command}\r\n`)
  while (!/^(END|STORED|EN|HD .*)\r\n$/m.test(text)) text += (await once(socket, 'data'))[0]
  socket.destroy()
  return text
}

const item = (name: string, text: string) => `VALUE ${name} 0 ${text.length}\r\n${text}\r\nEND\r\n`

function active (kind: string): number {
  return process.getActiveResourcesInfo().filter(name => name === kind).length
}

/** Another client, dressed as what the store asks for: it notes what is asked of it. */
function noting (client: MemcachedClient, commands: string[]): MemcachedClient {
  const note = (name: string) => { commands.push(name) }
  return {
    gets: (...args) => { note('gets'); client.gets(...args) },
    add: (...args) => { note('add'); client.add(...args) },
    cas: (...args) => { note('cas'); client.cas(...args) },
    stats: (...args) => { note('stats'); client.stats(...args) }
  }
}

/** Stands before the engine and can stop passing on what comes on its present connections. */
async function startProxy (t: Test, target: number) {
  const sockets = new Set<Socket>()
  let opened = 0
  const server = createServer(socket => {
    opened++
    const inner = connect(target, '127.0.0.1')
    for (const end of [socket, inner]) end.on('error', () => {})
    socket.on('close', () => inner.destroy())
    sockets.add(socket.pipe(inner).pipe(socket) as Socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => opened,
    silence: () => { for (const socket of sockets) socket.unpipe().resume() },
    reset: () => { for (const socket of sockets) socket.resetAndDestroy() }
  }
}
