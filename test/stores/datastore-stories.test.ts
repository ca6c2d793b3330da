import { test } from 'tap'
import { noDatastore, startDatastore } from '../engines/datastore.js'
import { fourProcesses } from '../helpers/processes.js'

test('in several processes', { skip: noDatastore, timeout: 180_000 }, async t => {
  await startDatastore(t)
  const projectId = `four-${process.pid}-${Date.now()}`
  const store = () => ({ type: 'datastore', projectId, kind: 'Four' })
  fourProcesses({ test: t.test, name: 'datastore', store })
})
