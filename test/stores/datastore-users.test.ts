import { test } from 'tap'
import { datastoreStore } from '../../stores/datastore.js'
import { noDatastore, startDatastore } from '../engines/datastore.js'
import { userStories } from '../helpers/user-stories.js'

test('users', { skip: noDatastore, timeout: 180_000 }, async t => {
  await startDatastore(t)
  const projectId = `users-${process.pid}-${Date.now()}`
  userStories({ test: t.test, name: 'datastore', store: space => datastoreStore({ projectId, kind: space }) })
})
