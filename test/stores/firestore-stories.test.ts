import { test } from 'tap'
import { noFirestore, startFirestore } from '../engines/firestore.js'
import { fourProcesses } from '../helpers/processes.js'

test('in several processes', { skip: noFirestore, timeout: 180_000 }, async t => {
  await startFirestore(t)
  const projectId = `four-${process.pid}-${Date.now()}`
  const store = () => ({ type: 'firestore', projectId, collection: 'four' })
  fourProcesses({ test: t.test, name: 'firestore', store })
})
