import { test } from 'tap'
import { noFirestore, startFirestore } from '../engines/firestore.js'
import { fourProcesses } from '../helpers/processes.js'

/** Not yet understood: whether the emulator or the store is to blame. FIRESTORE_PROCESSES=1 runs it. */
const unsettled = process.env.FIRESTORE_PROCESSES !== '1' &&
  'one run in five on a loaded machine, a process did not see the session that another had just created'

test('in several processes', { skip: noFirestore || unsettled, timeout: 180_000 }, async t => {
  await startFirestore(t)
  const projectId = `four-${process.pid}-${Date.now()}`
  const store = () => ({ type: 'firestore', projectId, collection: 'four' })
  fourProcesses({ test: t.test, name: 'firestore', store })
})
