import { test } from 'tap'
import { redisStore } from '../../stores/redis.js'
import { noRedis, startRedis } from '../engines/redis.js'
import { userProcesses } from '../helpers/user-processes.js'
import { userStories } from '../helpers/user-stories.js'

test('users', { skip: noRedis }, async t => {
  const { url } = await startRedis(t)
  userStories({ test: t.test, name: 'redis', store: space => redisStore({ url, prefix: space }) })
  userProcesses({ test: t.test, name: 'redis', store: () => ({ type: 'redis', url, prefix: 'four' }) })
})
