import { test } from 'tap'
import { testBackend } from '../../lib/testing/index.js'
import { firestoreStore } from '../../stores/firestore.js'
import { noFirestore, startFirestore } from '../engines/firestore.js'
import { httpStories } from '../helpers/http-stories.js'

test('the suite', { skip: noFirestore, timeout: 300_000 }, async t => {
  const { control } = await startFirestore(t)
  const projectId = `suite-${process.pid}-${Date.now()}`
  const store = (space: string) => firestoreStore({ projectId, collection: space })
  testBackend({
    test: t.test,
    store,
    abilities: ['keysOf', 'removeAllOf', 'sweep', 'count', 'ping'],
    maxValue: 1_047_000,
    engine: control,
    // The emulator takes a while for each of them.
    rounds: 100,
    numRuns: 10
  })
  for (const cookie of ['plain', 'signed'] as const) {
    httpStories({ test: t.test, name: 'firestore', store, cookie })
  }
})
