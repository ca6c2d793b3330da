import { join } from 'node:path'
import { test } from 'tap'
import { fileStore } from '../../stores/file.js'
import { httpStories } from '../helpers/http-stories.js'

test('over HTTP', async t => {
  const directory = t.testdir()
  for (const cookie of ['plain', 'signed'] as const) {
    const store = (space: string) => fileStore({ directory: join(directory, space) })
    httpStories({ test: t.test, name: 'file', store, cookie })
  }
})
