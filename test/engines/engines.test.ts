import { Redis } from 'ioredis'
import { test } from 'tap'
import { missing, reach } from './engine.js'
import { noMariadb, startMariadb } from './mariadb.js'
import { noMemcached, startMemcached } from './memcached.js'
import { noPostgres, startPostgres } from './postgres.js'
import { noOwnRedis, startOwnRedis, startRedisCluster, startRedisSentinel } from './redis.js'

for (const [name, skip, start] of [
  ['redis', noOwnRedis, startOwnRedis],
  ['memcached', noMemcached, startMemcached],
  ['postgres', noPostgres, startPostgres],
  ['mariadb', noMariadb, startMariadb]
] as const) {
  test(`${name} stops, is killed and comes back on its port`, { skip }, async t => {
    const { port, control } = await start(t)
    await reach(port)
    if (control === undefined) return t.pass('it is not ours to stop')
    for (const end of [control.stop, control.kill]) {
      await end()
      await t.rejects(reach(port))
      await control.start()
      await reach(port)
    }
    await control.pause()
    await control.resume()
  })
}

test('an engine that is not there is named', async t => {
  t.equal(missing(['no-such-server', 'node'], 'NO_SUCH_URL'), 'no-such-server is not installed')
})

test('a cluster of three', { skip: noOwnRedis }, async t => {
  const nodes = await startRedisCluster(t)
  t.equal(nodes.length, 3)
})

test('a master, a replica, a sentinel', { skip: noOwnRedis }, async t => {
  const { name, sentinel, master } = await startRedisSentinel(t)
  const client = new Redis(sentinel.port)
  t.teardown(() => client.disconnect())
  t.match(await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name), ['127.0.0.1', String(master.port)])
})
