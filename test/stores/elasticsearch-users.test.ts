import { Client } from '@elastic/elasticsearch'
import { test } from 'tap'
import { createIndex, elasticsearchStore } from '../../stores/elasticsearch.js'
import { isFake, startElasticsearch } from '../engines/elasticsearch.js'
import { userStories } from '../helpers/user-stories.js'

test(`users on ${isFake ? 'a FAKE of Elasticsearch' : 'Elasticsearch'}`, async t => {
  const { url: node } = await startElasticsearch(t)
  const index = `users-${process.pid}-${Date.now()}`
  const admin = new Client({ node })
  await createIndex(admin, { index })
  t.teardown(() => admin.transport.request({ method: 'DELETE', path: `/${index}` }).catch(() => {}))
  const store = (space: string) => elasticsearchStore({ node, index, prefix: space })
  userStories({ test: t.test, name: 'elasticsearch', store })
})
