import { test } from 'tap'
import { testBackend } from '../../lib/testing/index.js'
import { redisStore } from '../../stores/redis.js'
import { noOwnRedis, noRedis, noValkey, startRedis, startRedisCluster, startValkey } from '../engines/redis.js'

const abilities = ['keysOf', 'removeAllOf', 'count', 'ping'] as const

test('one server', { skip: noRedis }, async t => {
  const { url, control } = await startRedis(t)
  testBackend({
    test: t.test,
    store: space => redisStore({ url, prefix: space }),
    abilities,
    engine: control
  })
})

test('Valkey', { skip: noValkey }, async t => {
  const { url } = await startValkey(t)
  testBackend({ test: t.test, store: space => redisStore({ url, prefix: space }), abilities })
})

test('Redis Cluster', { skip: noOwnRedis }, async t => {
  const nodes = await startRedisCluster(t)
  testBackend({
    test: t.test,
    store: space => redisStore({ nodes: [{ host: '127.0.0.1', port: nodes[0].port }, nodes[1].url], prefix: space }),
    abilities,
    engine: {
      stop: () => all(({ stop }) => stop()),
      start: () => all(({ start }) => start()),
      pause: () => all(async ({ pause }) => pause()),
      resume: () => all(async ({ resume }) => resume())
    }
  })

  async function all (act: (control: typeof nodes[0]['control']) => Promise<void>) {
    await Promise.all(nodes.map(({ control }) => act(control)))
  }
})
