import type { Key } from '@google-cloud/datastore'
import { Datastore, PropertyFilter } from '@google-cloud/datastore'
import { test } from 'tap'
import { newKey } from '../../lib/testing/backend-lab.js'
import { TestClock } from '../../lib/testing/clock.js'
import { openBackend } from '../../lib/testing/open-store.js'
import { datastoreStore } from '../../stores/datastore.js'
import type { DatastoreClient } from '../../stores/datastore.js'
import { noOwnDatastore, startOwnDatastore } from '../engines/datastore.js'
import {
  ada, connectionOf, failsInTime, hashOf, nobody, opener, record, refuses
} from '../helpers/store-kit.js'

type Options = NonNullable<Parameters<typeof datastoreStore>[0]>

const open = opener(datastoreStore)
const credentials = { client_email: 'app@example.com', private_key: 'hunter2hunter2' }
const projectId = `own-${process.pid}`

test('options', async t => {
  await refuses(t, datastoreStore, [
    [{ kind: '' }, /^datastore store option kind must be a name of 1 to 100 letters/],
    [{ kind: 'a:b' }, /option kind/],
    [{ kind: '__Kind__' }, /option kind/],
    [{ namespace: 'a/b' }, /^datastore store option namespace must be a name of up to 100 letters/],
    [{ namespace: '__all__' }, /option namespace/],
    [{ projectId: '' }, /option projectId/],
    [{ client: {} }, /option client must be a Datastore, received an object/],
    [{ client: null }, /option client must be a Datastore, received null/],
    [{ credentials: null }, /option credentials must be an object with client_email and private_key/],
    [{ credentials: 'hunter2' }, /option credentials .* received a string of 7 characters/],
    [{ credentials: { private_key: 'hunter2' } }, /option credentials .* received an object/]
  ])
})

test('what excludes each other', async t => {
  const client = new Datastore({ projectId })
  await refuses(t, datastoreStore, [
    [{ client, projectId }, 'options client and projectId exclude each other'],
    [{ client, databaseId: 'a', credentials }, 'options client and databaseId and credentials exclude'],
    [{ keyFilename: '/key.json', credentials }, 'options keyFilename and credentials exclude each other']
  ])
})

test('a connection is shared by what has the same project, database and key', async t => {
  const keyOf = (options: Options) => connectionOf(datastoreStore(options))
  t.equal(await keyOf({ credentials, kind: 'one' }), await keyOf({ credentials: { ...credentials }, kind: 'two' }))
  const different = [
    {}, { projectId: 'a' }, { projectId: 'b' }, { databaseId: 'a' }, { keyFilename: 'a' }, { credentials }
  ]
  t.equal(new Set(await Promise.all(different.map(keyOf))).size, different.length)
  t.equal(await keyOf({ client: new Datastore({ projectId }) }), '')
})

test('one emulator', { skip: noOwnDatastore, timeout: 180_000 }, async t => {
  const { control } = await startOwnDatastore(t)
  const admin = new Datastore({ projectId })
  t.teardown(() => Promise.all([...admin.clients_.values()].map(channel => channel.close())))
  const entityOf = async (kind: string, key: string, namespace = '') =>
    (await admin.get(admin.key({ namespace, path: [kind, key] })))[0]

  // First, since a warning is given once.
  await t.test('the driver has nothing to warn of', async t => {
    const warnings: Error[] = []
    const warned = (warning: Error) => warnings.push(warning)
    process.on('warning', warned)
    t.teardown(() => process.off('warning', warned))
    const backend = await open(t, { projectId, kind: 'Warnings' })
    await backend.removeAllOf!('ada')
    await backend.sweep!(Date.now(), 10)
    await new Promise(resolve => setImmediate(resolve))
    t.strictSame(warnings, [])
  })

  await t.test('what is stored under what', async t => {
    const backend = await open(t, { projectId, kind: 'Keys', namespace: 'tenant' }, undefined, 'auth')
    const [text, bytes] = [newKey(), newKey()]
    const expiresAt = 4_000_000_000_001
    await backend.create(text, { value: 'ż', version: 'one', expiresAt }, { ...ada, createdAt: 2 })
    await backend.create(bytes, { value: Uint8Array.of(255, 0), version: 'two', expiresAt }, nobody)
    const stored = await entityOf('Keys:auth', text, 'tenant')
    t.strictSame({ ...stored, [admin.KEY]: undefined }, {
      value: 'ż',
      version: 'one',
      principal: hashOf('ada'),
      createdAt: new Date(2),
      expiresAt: new Date(4_000_000_000_001),
      [admin.KEY]: undefined
    })
    t.match(await entityOf('Keys:auth', bytes, 'tenant'), { value: Buffer.of(255, 0), principal: null })

    const only = await open(t, { projectId, kind: 'Keys' })
    await only.create(text, record('1'), nobody)
    t.match(await entityOf('Keys', text), { version: '1' })
  })

  await t.test('what is large is in no index, also after a touch', async t => {
    const backend = await open(t, { projectId, kind: 'Index' })
    const key = newKey()
    await backend.create(key, record('1'), ada)
    for (const change of [
      async () => {},
      () => backend.touch(key, Date.now() + 90_000),
      () => backend.update(key, record('1'), ada, '1')
    ]) {
      await change()
      for (const [name, value] of [['value', 'v1'], ['version', '1'], ['createdAt', new Date(1)]] as const) {
        const query = admin.createQuery('Index').filter(new PropertyFilter(name, '=', value))
        t.strictSame((await admin.runQuery(query))[0], [], name)
      }
    }
  })

  await t.test('an expired entity that is still there is missing, until it is removed', async t => {
    const clock = new TestClock()
    const backend = await open(t, { projectId, kind: 'Expired' }, clock)
    const key = newKey()
    await backend.create(key, record('1', clock.now() + 1000), ada)
    clock.advance(1)
    t.equal(await backend.read(key), null)
    t.equal(await backend.update(key, record('2', clock.now() + 1000), ada, '1'), 'missing')
    t.equal(await backend.touch(key, clock.now() + 1000), false)
    t.equal(await backend.remove(key), 'missing')
    t.equal(await backend.remove(key, '1'), 'missing')
    t.match(await entityOf('Expired', key), { version: '1' })
    t.equal(await backend.create(key, record('3', clock.now() + 1000), nobody), true)
    t.match(await entityOf('Expired', key), { version: '3', principal: null })
  })

  await t.test('what comes between the look and the commit is noticed', async t => {
    let meanwhile: () => Promise<unknown> = async () => {}
    const key = newKey()
    const client = between(async () => {
      const act = meanwhile
      meanwhile = async () => {}
      await act()
    })
    const other = await open(t, { projectId, kind: 'Between' })
    const backend = await open(t, { client, kind: 'Between' })
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
    meanwhile = () => admin.delete(admin.key(['Between', key]))
    t.equal(await backend.create(key, record('2'), ada), true, 'create, and the removal of what was expired')
    await other.touch(key, Date.now() - 1)
    meanwhile = () => other.create(key, record('4'), ada)
    t.equal(await backend.create(key, record('5'), ada), false, 'create, and another')
    t.match(await other.read(key), { value: 'v4' })
  })

  await t.test('somebody who is always faster: an error, not an endless attempt', async t => {
    const other = await open(t, { projectId, kind: 'Busy' })
    const key = newKey()
    let times = 0
    const client = between(() => other.touch(key, Date.now() + 60_000 + ++times))
    const backend = await open(t, { client, kind: 'Busy' })
    await other.create(key, record('1'), ada)
    const begun = performance.now()
    await t.rejects(backend.touch(key, Date.now()), {
      code: 'FST_SESSIONS_STORE', message: /met others 20 times/
    })
    t.ok(performance.now() - begun < 5000)
    t.ok(await other.read(key))
  })

  await t.test('removeAllOf leaves what is somebody else\'s by the time it is removed', async t => {
    const other = await open(t, { projectId, kind: 'Moved' })
    const key = newKey()
    const client = between(() => other.update(key, record('2'), { ...ada, principal: 'bob' }, '1'))
    const backend = await open(t, { client, kind: 'Moved' })
    await other.create(key, record('1'), ada)
    t.equal(await backend.removeAllOf!('ada'), 0)
    t.match(await other.read(key), { value: 'v2' })
  })

  await t.test('sweep leaves what was touched after it was found', async t => {
    const clock = new TestClock()
    const late = new TestClock(clock.now() + 120_000)
    const other = await open(t, { projectId, kind: 'Swept' }, clock)
    const [touched, expired] = [newKey(), newKey()]
    for (const key of [touched, expired]) await other.create(key, record('1', clock.now() + 60_000), ada)
    let touches = 0
    const client = between(async () => {
      if (touches++ === 0) await other.touch(touched, late.now() + 60_000)
    })
    const backend = await open(t, { client, kind: 'Swept' }, late)
    t.equal(await backend.sweep!(late.now(), 10), 1)
    t.ok(await backend.read(touched))
    t.notOk(await entityOf('Swept', expired))
  })

  await t.test('the largest value fits beside the longest names', async t => {
    const names = { kind: 'k'.repeat(100), namespace: 'n'.repeat(100) }
    const backend = await open(t, { projectId, ...names }, undefined, 'n'.repeat(64))
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
    const { backend, close } = await openBackend(datastoreStore({ client: admin }))
    await backend.ping!()
    await close()
    t.strictSame((await admin.get(admin.key(['Nothing', 'here'])))[0], undefined)
  })

  await t.test('stopped or silent, every verb rejects within the time of the session', async t => {
    const backend = await open(t, { projectId })
    await failsInTime(t, backend, control, /DEADLINE_EXCEEDED|UNAVAILABLE/)
  })

  /** The client of an application, with something to come between a look and what follows. */
  function between (act: () => Promise<unknown>): DatastoreClient {
    return Object.assign(Object.create(admin), {
      transaction () {
        const transaction = admin.transaction()
        return Object.assign(Object.create(transaction), {
          async get (keys: Key[]) {
            const found = await transaction.get(keys)
            await act()
            return found
          },
          run: () => transaction.run(),
          commit: () => transaction.commit(),
          rollback: () => transaction.rollback()
        })
      }
    })
  }
})
