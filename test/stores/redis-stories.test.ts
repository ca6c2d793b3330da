import { test } from 'tap'
import { redisStore } from '../../stores/redis.js'
import { noRedis, startRedis } from '../engines/redis.js'
import { httpStories } from '../helpers/http-stories.js'
import { fourProcesses } from '../helpers/processes.js'

test('over HTTP', { skip: noRedis }, async t => {
  const { url } = await startRedis(t)
  const store = (space: string) => redisStore({ url, prefix: space })
  for (const cookie of ['plain', 'signed'] as const) {
    httpStories({ test: t.test, name: 'redis', store, cookie })
  }
  httpStories({ test: t.test, name: 'redis', store, cookie: 'signed', encryption: true })
  fourProcesses({ test: t.test, name: 'redis', store: () => ({ type: 'redis', url, prefix: 'four' }) })
})
