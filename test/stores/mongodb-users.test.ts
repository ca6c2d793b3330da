import { test } from 'tap'
import { mongodbStore } from '../../stores/mongodb.js'
import { noMongodb, startMongodb } from '../engines/mongodb.js'
import { userProcesses } from '../helpers/user-processes.js'
import { userStories } from '../helpers/user-stories.js'

test('users', { skip: noMongodb }, async t => {
  const { url } = await startMongodb(t)
  const database = (space: string) => `${space}_${Date.now()}`
  userStories({ test: t.test, name: 'mongodb', store: space => mongodbStore({ url, database: database(space) }) })
  userProcesses({
    test: t.test, name: 'mongodb', store: () => ({ type: 'mongodb', url, database: database(`four_${process.pid}`) })
  })
})
