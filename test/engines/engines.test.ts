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

test('an engine that is not there is named, unless it is required or elsewhere', async t => {
  const { REQUIRE_ENGINES } = process.env
  t.teardown(() => { if (REQUIRE_ENGINES !== undefined) process.env.REQUIRE_ENGINES = REQUIRE_ENGINES })
  const look = () => missing(['no-such-server', 'node'], 'NO_SUCH_URL')
  process.env.REQUIRE_ENGINES = '1'
  t.equal(look(), false, 'so that its tests fail')
  delete process.env.REQUIRE_ENGINES
  t.equal(look(), 'no-such-server is not installed')
  process.env.NO_SUCH_URL = 'redis://elsewhere'
  t.equal(look(), false)
  delete process.env.NO_SUCH_URL
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
