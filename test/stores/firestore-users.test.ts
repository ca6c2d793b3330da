import { test } from 'tap'
import { firestoreStore } from '../../stores/firestore.js'
import { noFirestore, startFirestore } from '../engines/firestore.js'
import { userStories } from '../helpers/user-stories.js'

test('users', { skip: noFirestore, timeout: 180_000 }, async t => {
  await startFirestore(t)
  const projectId = `users-${process.pid}-${Date.now()}`
  userStories({ test: t.test, name: 'firestore', store: space => firestoreStore({ projectId, collection: space }) })
})
