import { Firestore } from '@google-cloud/firestore'
import { test } from 'tap'
import { newKey } from '../../lib/testing/backend-lab.js'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { firestoreStore } from '../../stores/firestore.js'
import type { FirestoreClient } from '../../stores/firestore.js'
import { noOwnFirestore, startOwnFirestore } from '../engines/firestore.js'
import {
  ada, connectionOf, failsInTime, hashOf, isOneWriteWhenSentTwice, nobody, opener, record, refuses
} from '../helpers/store-kit.js'

type Options = NonNullable<Parameters<typeof firestoreStore>[0]>

const open = opener(firestoreStore)
const credentials = { client_email: 'app@example.com', private_key: 'hunter2hunter2' }
const projectId = `own-${process.pid}`

test('options', async t => {
  await refuses(t, firestoreStore, [
    [{ collection: '' }, /^firestore store option collection must be a name of 1 to 100 letters/],
    [{ collection: 'a/b' }, /option collection/],
    [{ collection: '..' }, /option collection/],
    [{ collection: '__all__' }, /option collection/],
    [{ projectId: '' }, /option projectId/],
    [{ client: {} }, /option client must be a Firestore, received an object/],
    [{ client: null }, /option client must be a Firestore, received null/],
    [{ credentials: null }, /option credentials must be an object with client_email and private_key/],
    [{ credentials: 'hunter2' }, /option credentials .* received a string of 7 characters/],
    [{ credentials: { private_key: 'hunter2' } }, /option credentials .* received an object/]
  ])
})

test('what excludes each other', async t => {
  const client = new Firestore({ projectId })
  await refuses(t, firestoreStore, [
    [{ client, projectId }, 'options client and projectId exclude each other'],
    [{ client, databaseId: 'a', credentials }, 'options client and databaseId and credentials exclude'],
    [{ keyFilename: '/key.json', credentials }, 'options keyFilename and credentials exclude each other']
  ])
})

test('a connection is shared by what has the same project, database and key', async t => {
  const keyOf = (options: Options) => connectionOf(firestoreStore(options))
  t.equal(await keyOf({ credentials, collection: 'one' }), await keyOf({ credentials: { ...credentials }, collection: 'two' }))
  const different = [
    {}, { projectId: 'a' }, { projectId: 'b' }, { databaseId: 'a' }, { keyFilename: 'a' }, { credentials }
  ]
  t.equal(new Set(await Promise.all(different.map(keyOf))).size, different.length)
  t.equal(await keyOf({ client: new Firestore({ projectId }) }), '')
})

test('one emulator', { skip: noOwnFirestore, timeout: 180_000 }, async t => {
  const { control } = await startOwnFirestore(t)
  const admin = new Firestore({ projectId })
  t.teardown(() => admin.terminate())
  const fieldsOf = async (path: string) => (await admin.doc(path).get()).data()

  await t.test('what is stored under what', async t => {
    const backend = await open(t, { projectId, collection: 'keys' }, undefined, 'auth')
    const [text, bytes] = [newKey(), newKey()]
    const expiresAt = 4_000_000_000_001
    await backend.create(text, { value: 'ż', version: 'one', expiresAt }, { ...ada, createdAt: 2 })
    await backend.create(bytes, { value: Uint8Array.of(255, 0), version: 'two', expiresAt }, nobody)
    const stored = await fieldsOf(`keys/session:auth/keys/${text}`)
    t.strictSame(Object.keys(stored!).sort(), ['createdAt', 'expiresAt', 'principal', 'value', 'version'])
    t.match(stored, { value: 'ż', version: 'one', principal: hashOf('ada') })
    t.strictSame([stored!.createdAt.toMillis(), stored!.expiresAt.toMillis()], [2, 4_000_000_000_001])
    t.match(await fieldsOf(`keys/session:auth/keys/${bytes}`), { value: Buffer.of(255, 0), principal: null })
    t.strictSame((await admin.collection('keys').get()).docs, [], 'nothing beside')

    const only = await open(t, { projectId, collection: 'keys' })
    await only.create(text, record('1'), nobody)
    t.match(await fieldsOf(`keys/${text}`), { version: '1' })
  })

  await t.test('a decision is made without the value', async t => {
    const asked: unknown[] = []
    const client = between(async (...documents: unknown[]) => { asked.push(documents[1]) })
    const backend = await open(t, { client, collection: 'cost' })
    const key = newKey()
    await backend.create(key, record('1'), ada)
    t.strictSame(asked, [], 'and none is to make when the key is free')
    await backend.update(key, record('2'), ada, '1')
    await backend.touch(key, Date.now() + 90_000)
    await backend.remove(key)
    t.strictSame(asked, Array(3).fill({ fieldMask: ['version', 'principal', 'expiresAt'] }))
  })

  await t.test('an expired document that is still there is missing, until it is removed', async t => {
    const clock = new TestClock()
    const backend = await open(t, { projectId, collection: 'expired' }, clock)
    const key = newKey()
    await backend.create(key, record('1', clock.now() + 1000), ada)
    clock.advance(1)
    t.equal(await backend.read(key), null)
    t.equal(await backend.update(key, record('2', clock.now() + 1000), ada, '1'), 'missing')
    t.equal(await backend.touch(key, clock.now() + 1000), false)
    t.equal(await backend.remove(key), 'missing')
    t.equal(await backend.remove(key, '1'), 'missing')
    t.match(await fieldsOf(`expired/${key}`), { version: '1' })
    t.equal(await backend.create(key, record('3', clock.now() + 1000), nobody), true)
    t.match(await fieldsOf(`expired/${key}`), { version: '3', principal: null })
  })

  await t.test('a write sent twice, as the driver does when the answer was lost, is one write', async t => {
    await isOneWriteWhenSentTwice(t, await open(t, { projectId, collection: 'twice' }))
  })

  await t.test('what comes between the look and the write is noticed', async t => {
    let meanwhile: (key: string) => Promise<unknown> = async () => {}
    const key = newKey()
    const client = between(async () => {
      const act = meanwhile
      meanwhile = async () => {}
      await act(key)
    })
    const other = await open(t, { projectId, collection: 'between' })
    const backend = await open(t, { client, collection: 'between' })
    const later = Date.now() + 90_000
    const write = (version: string) => () => other.read(key).then(found =>
      other.update(key, record(version), nobody, found!.version))

    await backend.create(key, record('1'), ada)
    meanwhile = () => other.touch(key, later)
    t.equal(await backend.update(key, record('2'), ada, '1'), 'ok', 'update, and a touch')
    meanwhile = write('3')
    t.equal(await backend.update(key, record('late'), ada, '2'), 'conflict', 'update, and another')
    meanwhile = write('4')
    t.equal(await backend.touch(key, later), true, 'touch, and an update')
    t.match(await other.read(key), { value: 'v4', expiresAt: later })
    meanwhile = write('5')
    t.equal(await backend.remove(key, '4'), 'conflict', 'remove of one version, and an update')
    meanwhile = write('6')
    t.equal(await backend.remove(key), 'ok', 'remove, and an update')
    t.equal(await other.read(key), null)

    for (const verb of [
      () => backend.update(key, record('late'), ada, '1'),
      () => backend.remove(key),
      () => backend.remove(key, '1')
    ]) {
      await other.create(key, record('1'), ada)
      meanwhile = () => other.remove(key)
      t.equal(await verb(), 'missing')
      t.equal(await other.read(key), null)
    }

    await other.create(key, record('1', Date.now() - 1), ada)
    meanwhile = key => admin.doc(`between/${key}`).delete()
    t.equal(await backend.create(key, record('2'), ada), true, 'create, and the removal of what was expired')
    await other.touch(key, Date.now() - 1)
    meanwhile = () => other.create(key, record('4'), ada)
    t.equal(await backend.create(key, record('5'), ada), false, 'create, and another')
    t.match(await other.read(key), { value: 'v4' })
  })

  await t.test('create: what was in the way is gone when it is looked at', async t => {
    const other = await open(t, { projectId, collection: 'gone' })
    const key = newKey()
    const client = { ...between(async () => {}), getAll: (...asked: never[]) => admin.getAll(...asked) }
    const getAll = client.getAll
    client.getAll = async (...asked) => {
      await other.remove(key)
      return getAll(...asked)
    }
    const backend = await open(t, { client, collection: 'gone' })
    await other.create(key, record('1'), ada)
    t.equal(await backend.create(key, record('2'), ada), true)
    t.match(await other.read(key), { value: 'v2' })
  })

  await t.test('somebody who is always faster: an error, not an endless attempt', async t => {
    const other = await open(t, { projectId, collection: 'busy' })
    const key = newKey()
    let times = 0
    const client = between(() => other.touch(key, Date.now() + 60_000 + ++times))
    const backend = await open(t, { client, collection: 'busy' })
    await other.create(key, record('1'), ada)
    const begun = performance.now()
    await t.rejects(backend.touch(key, Date.now()), {
      code: 'FST_SESSIONS_STORE', message: /changed by others 20 times/
    })
    t.ok(performance.now() - begun < 5000)
    t.ok(await other.read(key))
  })

  await t.test('removeAllOf leaves what is somebody else\'s by the time it is removed', async t => {
    const other = await open(t, { projectId, collection: 'moved' })
    const key = newKey()
    const client = between(() => other.update(key, record('2'), { ...ada, principal: 'bob' }, '1'))
    const backend = await open(t, { client, collection: 'moved' })
    await other.create(key, record('1'), ada)
    t.equal(await backend.removeAllOf!('ada'), 0)
    t.match(await other.read(key), { value: 'v2' })
  })

  await t.test('sweep leaves what was touched after it was found', async t => {
    const clock = new TestClock()
    const late = new TestClock(clock.now() + 120_000)
    const other = await open(t, { projectId, collection: 'swept' }, clock)
    const [touched, expired] = [newKey(), newKey()]
    for (const key of [touched, expired]) await other.create(key, record('1', clock.now() + 60_000), ada)
    const touch = () => other.touch(touched, late.now() + 60_000)
    const collection = (path: string) => afterwards(admin.collection(path), touch)
    const client = { ...between(async () => {}), collection }
    const backend = await open(t, { client, collection: 'swept' }, late)
    t.equal(await backend.sweep!(late.now(), 10), 1)
    t.ok(await backend.read(touched))
    t.notOk(await fieldsOf(`swept/${expired}`))
  })

  await t.test('a principal with more sessions than a page has', async t => {
    const backend = await open(t, { projectId, collection: 'pages' })
    const keys = Array.from({ length: 200 }, newKey)
    await Promise.all(keys.map(key => backend.create(key, record('1'), ada)))
    const found = []
    for await (const { key } of backend.keysOf!('ada')) found.push(key)
    t.strictSame(found, keys.toSorted())
    t.equal(await backend.removeAllOf!('ada', keys[0]), 199)
    t.equal(await backend.count!(), 1)
  })

  await t.test('the largest value fits beside the longest names, as text too', async t => {
    const backend = await open(t, { projectId, collection: 'c'.repeat(100) }, undefined, 'n'.repeat(64))
    for (const value of ['x'.repeat(1_047_000), Buffer.alloc(1_047_000)]) {
      const key = newKey()
      const largest = { ...record('v'.repeat(100)), value }
      t.equal(await backend.create(key, largest, { ...ada, createdAt: Date.now() }), true)
      t.equal((await backend.read(key))?.value.length, 1_047_000)
      const larger = { ...largest, value: 'x'.repeat(1_047_001) }
      await t.rejects(backend.update(key, larger, ada, largest.version), {
        code: 'FST_SESSIONS_TOO_LARGE', message: /takes 1047001 bytes, more than the 1047000/
      })
    }
  })

  await t.test('a client of the application is used and stays open', async t => {
    const { backend, close } = await openBackend(firestoreStore({ client: admin }))
    await backend.ping!()
    await close()
    t.strictSame((await admin.collection('nothing').get()).docs, [])
  })

  await t.test('stopped or silent, every verb rejects within the time of the session', async t => {
    const { backend, close } = await openBackend(firestoreStore({ projectId }))
    await failsInTime(t, backend, control, /no answer in 4 s|DEADLINE_EXCEEDED|UNAVAILABLE/)
    const begun = performance.now()
    await close()
    t.ok(performance.now() - begun < 6000, 'closing ends in time, whatever the driver still attempts')
  })

  /** The client of an application, with something to come between a look at documents and what follows. */
  function between (act: (...asked: unknown[]) => Promise<unknown>): FirestoreClient {
    return {
      doc: path => admin.doc(path),
      collection: path => admin.collection(path),
      async getAll (...asked: never[]) {
        const found = await admin.getAll(...asked)
        await act(...asked)
        return found
      }
    }
  }
})

/** A query whose answer is held back until `act` is done. */
function afterwards (query: object, act: () => Promise<unknown>): object {
  return new Proxy(query, {
    get (target, name) {
      const method = Reflect.get(target, name).bind(target)
      if (name !== 'get') return (...args: unknown[]) => afterwards(method(...args), act)
      return async () => {
        const found = await method()
        await act()
        return found
      }
    }
  })
}
