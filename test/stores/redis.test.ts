import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { test } from 'tap'
import type { Test } from 'tap'
import { newKey } from '../../lib/testing/backend-lab.js'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { redisStore } from '../../stores/redis.js'
import type { SessionBackend } from '../../types/store.js'
import { noOwnRedis, startOwnRedis } from '../engines/redis.js'
import {
  ada, connectionOf, failure, isOneWriteWhenSentTwice, nobody, opener
} from '../helpers/store-kit.js'

type Options = Parameters<typeof redisStore>[0]

const open = opener(redisStore)

test('options', async t => {
  t.throws(() => redisStore({ url: 6379 as never }), { code: 'FST_SESSIONS_OPTION' })
  t.throws(() => redisStore({ url: '' }), /redis store option url must be a non-empty string/)
  t.throws(() => redisStore({ nodes: [] }), /nodes must be a list of nodes, each a URL or { host, port }, received an array/)
  for (const client of [{}, null, 'redis://x:hunter2@localhost']) {
    const wrong = () => redisStore({ client: client as never })
    t.throws(wrong, /redis store option client must be an ioredis client, received/)
    t.notMatch(inspect(await failure(async () => wrong())), 'hunter2')
  }
  for (const options of ['hunter2', [], null]) {
    t.throws(() => redisStore({ options: options as never }), /options must be an object of ioredis options/)
  }
})

test('only one way to connect can be given', async t => {
  const client = idle(t)
  const nodes = ['redis://:hunter2@127.0.0.1:1']
  const url = 'redis://:hunter2@127.0.0.1:1'
  const options = { password: 'hunter2' }
  for (const [given, names] of [
    [{ url, client }, 'url and client'],
    [{ url, options }, 'url and options'],
    [{ url, nodes }, 'url and nodes'],
    [{ client, options }, 'options and client'],
    [{ client, nodes, options }, 'nodes and client and options'],
    [{ url, nodes, client, options }, 'url and nodes and client and options']
  ] as const) {
    const error = await failure(() => openBackend(redisStore(given as Options)))
    t.match(error, {
      code: 'FST_SESSIONS_OPTION',
      message: `redis store options ${names} exclude each other; ` +
        'give url, or options, or nodes with or without options, or client'
    })
    t.notMatch(inspect(error), 'hunter2')
  }
})

test('without options it is the Redis on this host', async t => {
  const backend = await open(t)
  const outcome = await backend.ping!().then(() => 'answers', (error: Error) => error.message)
  t.match(outcome, /answers|ECONNREFUSED.*6379|NOAUTH/)
})

test('one server', { skip: noOwnRedis }, async t => {
  const { url, port } = await startOwnRedis(t)
  const admin = new Redis(url)
  t.teardown(() => admin.disconnect())

  await t.test('each verb is one command', async t => {
    const clock = new TestClock()
    const backend = await open(t, { url, prefix: 'stats:' }, clock)
    const [key, owned, fresh] = [newKey(), newKey(), newKey()]
    const record = (version: string) => ({ value: 'v', version, expiresAt: clock.now() + 60_000 })
    await warmUp(backend, clock)
    await backend.create(key, record('1'), nobody)
    await backend.create(owned, record('1'), ada)

    const written = { hset: 1, pexpire: 1 }
    t.strictSame(await cost(() => backend.read(owned)), { hmget: 1 })
    t.strictSame(await cost(() => backend.create(fresh, record('1'), nobody)), { evalsha: 1, hmget: 1, ...written })
    for (const [name, who] of [[key, nobody], [owned, ada]] as const) {
      t.strictSame(await cost(() => backend.update(name, record('2'), who, '1')), { evalsha: 1, hmget: 1, ...written })
      t.strictSame(await cost(() => backend.touch(name, clock.now() + 90_000)),
        { evalsha: 1, hmget: 1, hset: 1, pexpire: 1 })
    }
    t.strictSame(await cost(() => backend.remove(key)), { evalsha: 1, hmget: 1, del: 1 })
    t.strictSame(await cost(() => backend.remove(fresh, '1')), { evalsha: 1, hmget: 1, hget: 1, del: 1 })
    t.strictSame(await cost(() => backend.remove(key)), { evalsha: 1, hmget: 1 })
    t.strictSame(await cost(() => backend.ping!()), { ping: 1 })
  })

  await t.test('the user index costs a command at a login, a logout, and once in a while', async t => {
    const clock = new TestClock()
    const backend = await open(t, { url, prefix: 'cost:' }, clock)
    const key = newKey()
    const expiresAt = () => clock.now() + 60_000
    await warmUp(backend, clock)
    const evalsha = async (work: () => Promise<unknown>) => (await cost(work)).evalsha
    t.equal(await evalsha(() => backend.create(key, { value: '', version: '0', expiresAt: expiresAt() }, ada)), 2)
    let used = 0
    for (let i = 0; i < 10; i++) {
      clock.advance(30)
      used += await evalsha(() => backend.touch(key, expiresAt()))
      const record = { value: '', version: `${i + 1}`, expiresAt: expiresAt() + 1 }
      used += await evalsha(() => backend.update(key, record, ada, `${i}`))
    }
    t.equal(used, 20 + 4 * 2, 'in five idle timeouts')
    t.match(await cost(() => backend.remove(key)), { evalsha: 1, zrem: 1 })
  })

  await t.test('scripts are forgotten: the next call brings them, the one after does not', async t => {
    const clock = new TestClock()
    const backend = await open(t, { url, prefix: 'flush:' }, clock)
    const key = newKey()
    await warmUp(backend, clock)
    const record = (version: string) => ({ value: 'v', version, expiresAt: clock.now() + 60_000 })
    await admin.script('FLUSH')
    t.match(await cost(() => backend.create(key, record('1'), nobody)), { evalsha: 1, eval: 1 })
    t.notOk((await cost(() => backend.create(key, record('2'), nobody))).eval)
    await admin.script('FLUSH')
    t.equal(await backend.update(key, record('2'), ada, '1'), 'ok')
    await admin.script('FLUSH')
    t.equal(await backend.touch(key, clock.now() + 30_000), true)
    await admin.script('FLUSH')
    t.equal(await backend.remove(key, '2'), 'ok')
  })

  await t.test('every key has a time to live, the index one that outlives its sessions', async t => {
    const clock = new TestClock()
    const backend = await open(t, { url, prefix: 'ttl:' }, clock)
    const [key, other] = [newKey(), newKey()]
    const record = (version: string, seconds: number) =>
      ({ value: 'v', version, expiresAt: clock.now() + seconds * 1000 })
    const [ofRecord, ofIndex] = [`ttl:${key}`, () => admin.keys('ttl:principal:*').then(([name]) => name)]
    await backend.create(key, record('1', 100), ada)
    await near(t, ofRecord, 100)
    await near(t, await ofIndex(), 200)
    await backend.touch(key, clock.now() + 150_000)
    await near(t, ofRecord, 150)
    await near(t, await ofIndex(), 200)
    await backend.touch(key, clock.now() + 300_000)
    await near(t, ofRecord, 300)
    await near(t, await ofIndex(), 600)
    await backend.create(other, record('1', 10), ada)
    await near(t, await ofIndex(), 600)
    await backend.update(key, record('2', 5), ada, '1')
    await near(t, ofRecord, 5)
    await near(t, await ofIndex(), 600)
    await backend.update(key, record('3', 1000), ada, '2')
    await near(t, await ofIndex(), 2000)

    t.equal(await backend.touch(key, clock.now() - 1), true)
    t.equal(await backend.create(newKey(), record('1', -1), ada), true)
    t.strictSame((await admin.keys('ttl:*')).sort(), [`ttl:${other}`, await ofIndex()].sort())
    clock.advance(3000)
    await backend.create(key, record('4', 10), ada)
    t.strictSame(await admin.zrange(await ofIndex(), '0', '-1'), [key])
    await backend.remove(key)
    await backend.remove(other)
    t.strictSame(await admin.keys('ttl:*'), [`ttl:${other}`], 'which is expired for the clock only')

    async function near (t: Test, name: string, seconds: number) {
      const left = await admin.pttl(name)
      t.ok(left <= seconds * 1000 && left > (seconds - 4) * 1000, `${left} ms of ${seconds} s`)
    }
  })

  await t.test('parallel touches: none shortens what another one relies on', async t => {
    const clock = new TestClock()
    const backend = await open(t, { url, prefix: 'parallel:' }, clock)
    const key = newKey()
    const after = (minutes: number) => clock.now() + minutes * 60_000
    await backend.create(key, { value: '', version: '1', expiresAt: after(1) }, ada)
    const touched = await Promise.all([600, 60].map(minutes => backend.touch(key, after(minutes))))
    t.strictSame(touched, [true, true])
    await backend.touch(key, after(300))
    clock.advance(299 * 60)
    await backend.create(newKey(), { value: '', version: '1', expiresAt: after(1) }, ada)
    t.equal(await backend.removeAllOf!('ada'), 2)
    t.equal(await backend.read(key), null)
  })

  await t.test('what is stored under what', async t => {
    const expiresAt = Date.now() + 60_000
    const backend = await open(t, { url, prefix: 'keys:' }, new TestClock(), 'auth')
    const [text, bytes] = ['T'.repeat(43), 'B'.repeat(43)]
    await backend.create(text, { value: 'ż', version: 'one', expiresAt }, { ...ada, principal: 'ada:*' })
    await backend.create(bytes, { value: Uint8Array.of(255, 0), version: 'two', expiresAt }, nobody)
    const names = (await admin.keys('keys:*')).sort()
    const owner = createHash('sha256').update('"ada:*"').digest('hex')
    t.strictSame(names, ['keys:auth:' + bytes, 'keys:auth:' + text, 'keys:auth:principal:' + owner])
    t.match(await admin.hgetall(names[1]), { d: 'tż', v: 'one', x: `${expiresAt}`, c: '1', p: owner })
    t.strictSame(await admin.hgetBuffer(names[0], 'd'), Buffer.of(98, 255, 0))
  })

  await t.test('principals that UTF-8 cannot tell apart', async t => {
    const backend = await open(t, { url, prefix: 'surrogate:' })
    const principals = ['\ud800', '\ud801', '\ufffd']
    for (const principal of principals) {
      const record = { value: '', version: '1', expiresAt: Date.now() + 60_000 }
      await backend.create(newKey(), record, { ...ada, principal })
    }
    for (const principal of principals) t.equal(await backend.removeAllOf!(principal), 1)
  })

  await t.test('a write sent twice, as drivers do after a broken connection, is one write', async t => {
    await isOneWriteWhenSentTwice(t, await open(t, { url, prefix: 'twice:' }))
  })

  await t.test('a client of the application is used with its prefix and stays open', async t => {
    for (const more of [{ keyPrefix: 'app[*]:' }, { keyPrefix: 'app?:', enableAutoPipelining: true }, { protocol: 2 }]) {
      const client = new Redis({ port, ...more } as RedisOptions)
      t.teardown(() => client.disconnect())
      const { backend, close } = await openBackend(redisStore({ client, prefix: 'b*\\:' }))
      const keys = await useAll(t, backend)
      const start = (client.options.keyPrefix ?? '') + 'b*\\:'
      t.strictSame((await admin.keys('*')).filter(name => name.endsWith(keys[0])), [start + keys[0]])
      await admin.set(start + 'other', '')
      await admin.set('app*:b*\\:' + newKey(), '')
      t.equal(await backend.count!(), 2)
      await close()
      t.equal(client.status, 'ready')
      t.equal(await client.ping(), 'PONG')
      await admin.flushall()
    }
  })

  await t.test('a prefix of ioredis among the options is respected too', async t => {
    const backend = await open(t, { options: { port, keyPrefix: 'mine:' } })
    const [key] = await useAll(t, backend)
    t.equal(await admin.exists(`mine:session:${key}`), 1)
    t.equal(await backend.count!(), 2)
    await admin.flushall()
  })

  await t.test('count goes through everything, however much there is', async t => {
    const backend = await open(t, { url, prefix: 'many:' })
    const others = await open(t, { url, prefix: 'many' })
    const pipeline = admin.pipeline()
    for (let i = 0; i < 2500; i++) pipeline.hset('many:' + newKey(), 'x', String(Date.now() + 60_000))
    for (let i = 0; i < 2500; i++) pipeline.set(`elsewhere:${i}`, '')
    await pipeline.exec()
    t.equal(await backend.count!(), 2500)
    t.equal(await others.count!(), 0)
    await admin.flushall()
  })

  await t.test('a store that is not used opens no connection; one that was closed leaves none', async t => {
    while (await connections() > 1);
    const before = 1
    const { backend, close } = await openBackend(redisStore({ url }))
    t.equal(await connections(), before)
    await Promise.all([backend.read(newKey()), backend.read(newKey())])
    t.equal(await connections(), before + 1)
    await close()
    while (await connections() > before);
    t.equal(await connections(), before)
  })

  await t.test('stores with equal options ask for the same connection', async t => {
    const retryStrategy = () => 1
    const keyOf = (options?: Options) => connectionOf(redisStore(options))
    for (const options of [{ url }, { options: { port, tls: { ca: Buffer.from('ca') }, retryStrategy } }, { nodes: [url] }]) {
      t.equal(await keyOf({ ...options, prefix: 'a:' }), await keyOf({ ...options, prefix: 'b:' }))
    }
    const other = { retryStrategy: () => 1 }
    const different: Options[] = [
      { url }, { url: url + '/1' }, { nodes: [url] }, {}, { options: { retryStrategy } }, { options: other },
      { options: { tls: { secureContext: new Map() } } }, { options: { tls: { secureContext: new Map() } } },
      { options: { tls: null } }, { options: { tls: Object.create(null) } }
    ]
    t.equal(new Set(await Promise.all(different.map(keyOf))).size, different.length)
    t.equal(await keyOf({ client: idle(t) }), '')
  })

  await t.test('a server that turns into a replica is left for where the master is now', async t => {
    const backend = await open(t, { url, prefix: 'readonly:' })
    await useAll(t, backend)
    const ids = async (): Promise<string[]> => (await admin.client('LIST') as string).match(/^id=\d+/gm) ?? []
    const before = await ids()
    await admin.call('REPLICAOF', '127.0.0.1', '1')
    await t.rejects(backend.create(newKey(), { value: '', version: '1', expiresAt: Date.now() + 1000 }, nobody), /READONLY/)
    await admin.call('REPLICAOF', 'NO', 'ONE')
    await useAll(t, backend)
    t.equal((await ids()).filter(id => !before.includes(id)).length, 1, 'a new connection')
  })

  async function connections () {
    return (await admin.client('LIST') as string).trim().split('\n').length
  }

  /** How often each command was run, those inside scripts too. */
  async function cost (work: () => Promise<unknown>): Promise<Record<string, number>> {
    await admin.config('RESETSTAT')
    await work()
    const stats = (await admin.info('commandstats')).matchAll(/cmdstat_([a-z]+):calls=(\d+)/g)
    return Object.fromEntries([...stats].map(([, name, calls]) => [name, Number(calls)])
      .filter(([name]) => name !== 'config' && name !== 'info'))
  }
})

test('errors carry neither keys nor data nor passwords', { skip: noOwnRedis }, async t => {
  const { port } = await startOwnRedis(t, '--requirepass', 'hunter2', '--rename-command', 'EVALSHA', '')
  const key = newKey()
  const record = { value: 'secret data', version: '1', expiresAt: Date.now() + 60_000 }
  const reader = 'redis://reader:reader-password@127.0.0.1:' + port
  const admin = new Redis({ port, password: 'hunter2' })
  t.teardown(() => admin.disconnect())
  await admin.call('ACL', 'SETUSER', 'reader', 'on', '>reader-password', '+@all', '~other:*')

  for (const [options, message] of [
    [{ url: `redis://:wrong-password@127.0.0.1:${port}` }, /WRONGPASS/],
    [{ options: { port, password: 'hunter2' } }, /unknown command 'evalsha'$/i],
    [{ url: reader }, /NOPERM|unknown command/],
    [{ options: { port } }, /NOAUTH/]
  ] as const) {
    const backend = await open(t, options)
    const error = await failure(() => backend.create(key, record, ada))
    t.match(error.message, message)
    const shown = inspect(error, { showHidden: true, depth: 10 })
    for (const secret of ['wrong-password', 'reader-password', 'hunter2', 'secret data', key]) {
      t.notOk(shown.includes(secret), 'nothing that is secret')
    }
  }
})

test('no server: every verb rejects soon, and each tries again', { skip: noOwnRedis }, async t => {
  const { url, control } = await startOwnRedis(t)
  const printed = t.capture(console, 'error')
  await control.stop()
  const backend = await open(t, { url })
  await t.rejects(backend.read(newKey()), /ECONNREFUSED/)
  await t.rejects(backend.ping!(), /ECONNREFUSED/)
  await control.start()
  await useAll(t, backend)
  await control.stop()
  await failure(() => backend.read(newKey()))
  for (let i = 0; i < 3; i++) {
    const errors = await Promise.all(Array.from({ length: 20 }, () => failure(() => backend.read(newKey()))))
    for (const error of errors) t.match(error.message, /ECONNREFUSED/)
  }
  // Attempts to connect while nobody waits for one.
  await new Promise(resolve => setTimeout(resolve, 700))
  await control.start()
  await useAll(t, backend)
  t.strictSame(printed(), [], 'nothing on the console')
})

test('killed under load: every call settles, and all is well when it is back', { skip: noOwnRedis }, async t => {
  const { url, control } = await startOwnRedis(t)
  const backend = await open(t, { url })
  await useAll(t, backend)
  const state = { failed: 0, done: false }
  const workers = Array.from({ length: 50 }, async () => {
    while (!state.done) {
      const key = newKey()
      const record = { value: 'v', version: '1', expiresAt: Date.now() + 60_000 }
      const begun = performance.now()
      try {
        await backend.create(key, record, ada)
        await backend.touch(key, Date.now() + 200_000)
        await backend.read(key)
        await backend.update(key, { ...record, version: '2' }, nobody, '1')
        await backend.remove(key)
      } catch {
        state.failed++
      }
      if (performance.now() - begun > 4000) throw new Error('a call took too long')
    }
  })
  for (let round = 0; round < 3; round++) {
    await new Promise(resolve => setTimeout(resolve, 100))
    const before = state.failed
    await control.kill()
    while (state.failed < before + 50) await new Promise(resolve => setTimeout(resolve, 10))
    await control.start()
    await backend.ping!()
  }
  state.done = true
  await Promise.all(workers)
  await useAll(t, backend)
})

test('options of the application decide when to give up; the next use begins anew', { skip: noOwnRedis }, async t => {
  const { port, control } = await startOwnRedis(t)
  const backend = await open(t, { options: { port, retryStrategy: null } })
  await useAll(t, backend)
  await control.stop()
  await t.rejects(backend.read(newKey()), /ECONNREFUSED|Connection is closed/)
  await control.start()
  await useAll(t, backend)
})

test('nodes that are no cluster: the error says so', { skip: noOwnRedis }, async t => {
  const { port } = await startOwnRedis(t)
  const backend = await open(t, { nodes: [{ host: '127.0.0.1', port }] })
  await t.rejects(backend.read(newKey()), /Failed to refresh slots cache. ERR This instance has cluster support disabled/)
})

function idle (t: Test): Redis {
  const client = new Redis({ lazyConnect: true })
  t.teardown(() => client.disconnect())
  return client
}

/** Each verb once; two sessions stay, one of nobody and one of 'ada'. */
async function useAll (t: Test, backend: SessionBackend) {
  const [key, owned, gone] = [newKey(), newKey(), newKey()]
  const record = (version: string) => ({ value: version, version, expiresAt: Date.now() + 60_000 })
  await backend.removeAllOf!('ada')
  for (const [name, who] of [[key, nobody], [owned, ada], [gone, ada]] as const) {
    t.equal(await backend.create(name, record('1'), who), true)
    t.equal(await backend.update(name, record('2'), who, '1'), 'ok')
    t.equal(await backend.touch(name, Date.now() + 300_000), true)
    t.equal((await backend.read(name))?.value, '2')
  }
  t.equal(await backend.remove(gone), 'ok')
  const found = []
  for await (const item of backend.keysOf!('ada')) found.push(item.key)
  t.strictSame(found, [owned])
  await backend.ping!()
  return [key, owned]
}

/** So that the server knows all scripts. */
async function warmUp (backend: SessionBackend, clock: TestClock) {
  const key = newKey()
  const record = (version: string) => ({ value: '', version, expiresAt: clock.now() + 1000 })
  await backend.create(key, record('1'), ada)
  await backend.update(key, record('2'), ada, '1')
  await backend.touch(key, clock.now() + 1000)
  await backend.remove(key)
}
