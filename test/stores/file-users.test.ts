import { join } from 'node:path'
import { test } from 'tap'
import { fileStore } from '../../stores/file.js'
import { userProcesses } from '../helpers/user-processes.js'
import { userStories } from '../helpers/user-stories.js'

test('users', async t => {
  const root = t.testdir()
  userStories({ test: t.test, name: 'file', store: space => fileStore({ directory: join(root, space) }) })
  userProcesses({ test: t.test, name: 'file', store: () => ({ type: 'file', directory: join(root, 'four') }) })
})
