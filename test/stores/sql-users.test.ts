import { sqlStore } from '../../stores/sql.js'
import { userProcesses } from '../helpers/user-processes.js'
import { userStories } from '../helpers/user-stories.js'
import { onEachDialect } from './sql-dialects.js'

onEachDialect('users', async (t, { dialect, options }) => {
  const store = (space: string) => sqlStore({ ...options, table: space, createTable: true })
  userStories({ test: t.test, name: dialect, store })
  userProcesses({
    test: t.test, name: dialect, store: () => ({ type: 'sql', ...options, table: 'four', createTable: true })
  })
})
