import { Cluster, Redis } from 'ioredis'
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { test } from 'tap'
import type { Test } from 'tap'
import { openBackend } from '../../lib/testing/open-store.js'
import { redisStore } from '../../stores/redis.js'
import type { SessionBackend } from '../../types/store.js'
import { noOwnRedis, startRedisCluster, startRedisSentinel } from '../engines/redis.js'

const newKey = () => randomBytes(32).toString('base64url')
const nobody = { principal: null, createdAt: 1 }
const ada = { principal: 'ada', createdAt: 1 }
const record = (version: string) => ({ value: version, version, expiresAt: Date.now() + 60_000 })

test('Sentinel: after a failover all verbs work, on the sessions of before', { skip: noOwnRedis }, async t => {
  const { name, master, replica, sentinel } = await startRedisSentinel(t)
  const backend = await open(t, { options: { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name } })
  const reader = new Redis(replica.url)
  t.teardown(() => reader.disconnect())
  const key = newKey()
  await useAll(t, backend)
  t.equal(await backend.create(key, record('1'), nobody), true)
  while (await reader.exists(`session:${key}`) === 0);
  await master.control.kill()
  await t.rejects(backend.read(key))
  t.equal((await eventually(() => backend.read(key)))?.value, '1')
  t.equal(await backend.update(key, record('2'), nobody, '1'), 'ok')
  await useAll(t, backend)
})

test('Sentinel: no sentinel answers', { skip: noOwnRedis }, async t => {
  const backend = await open(t, { options: { sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'sessions' } })
  await t.rejects(backend.read(newKey()), /All sentinels are unreachable/)
})

test('Cluster', { skip: noOwnRedis }, async t => {
  const nodes = await startRedisCluster(t)
  const startup = [{ host: '127.0.0.1', port: nodes[0].port }]
  const store = () => open(t, { nodes: startup })

  await t.test('sessions and indexes are spread over all nodes, and found on all', async t => {
    const backend = await store()
    const keys = Array.from({ length: 60 }, newKey)
    for (const [i, key] of keys.entries()) {
      t.equal(await backend.create(key, record('1'), { principal: `user ${i % 20}`, createdAt: 1 }), true)
    }
    t.equal(await backend.count!(), 60)
    const cluster = borrow(t)
    await cluster.ping()
    for (const node of cluster.nodes('master')) t.ok((await node.keys('session:principal:*')).length > 0)
    for (let i = 0; i < 20; i++) {
      const found = []
      for await (const { key } of backend.keysOf!(`user ${i}`)) found.push(key)
      t.strictSame(found.sort(), [keys[i], keys[i + 20], keys[i + 40]].sort())
      t.equal(await backend.removeAllOf!(`user ${i}`, keys[i]), 2)
    }
    t.equal(await backend.count!(), 20)
  })

  await t.test('a client of the application, with a prefix and pipelines of its own', async t => {
    const cluster = borrow(t, { keyPrefix: 'app:', enableAutoPipelining: true })
    const { backend, close } = await openBackend(redisStore({ client: cluster }))
    const key = await useAll(t, backend)
    t.equal(await backend.count!(), 1)
    await close()
    t.equal(cluster.status, 'ready')
    t.equal(await cluster.exists(`session:${key}`), 1)
  })

  await t.test('options of the Cluster', async t => {
    const backend = await open(t, { nodes: startup, options: { redisOptions: { keyPrefix: 'mine:' } } })
    const key = await useAll(t, backend)
    t.equal(await borrow(t).exists(`mine:session:${key}`), 1)
    t.equal(await backend.count!(), 1)
  })

  await t.test('a node that was killed is used again when it is back', async t => {
    const backend = await store()
    const keys = Array.from({ length: 30 }, newKey)
    const { control } = nodes[2]
    await useAll(t, backend)
    await control.kill()
    const begun = performance.now()
    const written = await Promise.allSettled(keys.map(key => backend.create(key, record('1'), nobody)))
    t.ok(written.some(({ status }) => status === 'rejected'))
    t.ok(performance.now() - begun < 8000, 'they fail in time')
    await control.start()
    for (const key of keys) {
      const version = await eventually(() => backend.read(key))
      if (version === null) t.equal(await eventually(() => backend.create(key, record('1'), nobody)), true)
    }
    for (const key of keys) t.equal((await backend.read(key))?.value, '1')
    await useAll(t, backend)
  })

  await t.test('all nodes are killed: every verb rejects soon, and works when they are back', async t => {
    const backend = await store()
    await useAll(t, backend)
    await Promise.all(nodes.map(({ control }) => control.kill()))
    await t.rejects(backend.read(newKey()))
    const begun = performance.now()
    for (let i = 0; i < 3; i++) await t.rejects(backend.read(newKey()), /Failed to refresh slots cache/)
    t.ok(performance.now() - begun < 4000, 'soon')
    await Promise.all(nodes.map(({ control }) => control.start()))
    t.equal(await eventually(() => backend.read(newKey())), null)
    await useAll(t, backend)
  })

  await t.test('a store that meets a cluster in disorder works as soon as that is in order', async t => {
    await nodes[2].control.kill()
    const known = borrow(t, { enableReadyCheck: false })
    while (!/cluster_state:fail/.test(await known.cluster('INFO'))) await delay(50)
    const backend = await store()
    const waiting = backend.read(newKey())
    waiting.catch(() => {})
    const connecting = borrow(t)
    while (connecting.status !== 'reconnecting') await delay(1)
    await nodes[2].control.start()
    t.equal(await eventually(() => backend.read(newKey())), null)
    await useAll(t, backend)
  })

  function borrow (t: Test, options = {}) {
    const cluster = new Cluster(startup, options)
    t.teardown(() => cluster.disconnect())
    return cluster
  }
})

async function open (t: Test, options: Parameters<typeof redisStore>[0]) {
  const { backend, close } = await openBackend(redisStore(options))
  t.teardown(close)
  return backend
}

/** Each verb; leaves one session of 'ada'. */
async function useAll (t: Test, backend: SessionBackend): Promise<string> {
  const [key, gone] = [newKey(), newKey()]
  await backend.removeAllOf!('ada')
  for (const name of [key, gone]) {
    t.equal(await backend.create(name, record('1'), ada), true)
    t.equal(await backend.update(name, record('2'), ada, '1'), 'ok')
    t.equal(await backend.touch(name, Date.now() + 300_000), true)
    t.equal((await backend.read(name))?.value, '2')
  }
  t.equal(await backend.remove(gone), 'ok')
  const found = []
  for await (const item of backend.keysOf!('ada')) found.push(item.key)
  t.strictSame(found, [key])
  await backend.ping!()
  return key
}

/** Tries again while it rejects, for as long as a failover may take. */
async function eventually<T> (work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await delay(50)
    }
  }
}
