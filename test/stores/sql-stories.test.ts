import { sqlStore } from '../../stores/sql.js'
import { httpStories } from '../helpers/http-stories.js'
import { fourProcesses } from '../helpers/processes.js'
import { onEachDialect } from './sql-dialects.js'

onEachDialect('over HTTP', async (t, { dialect, options }) => {
  const store = (space: string) => sqlStore({ ...options, table: space, createTable: true })
  for (const cookie of ['plain', 'signed'] as const) httpStories({ test: t.test, name: dialect, store, cookie })
  httpStories({ test: t.test, name: dialect, store, cookie: 'signed', encryption: true })
  fourProcesses({
    test: t.test,
    name: dialect,
    store: () => ({ type: 'sql', ...options, table: 'four', createTable: true })
  })
})
