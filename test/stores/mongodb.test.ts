import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { inspect } from 'node:util'
import { MongoClient } from 'mongodb'
import type { MongoClientOptions } from 'mongodb'
import { MongoClient as MongoClient6 } from 'mongodb6'
import { test } from 'tap'
import type { Test } from 'tap'
import { openBackend, testBackend } from '../../lib/testing/index.js'
import type { SuiteEngine } from '../../lib/testing/index.js'
import { ensureSessionIndexes, mongodbStore } from '../../stores/mongodb.js'
import type { Engine } from '../engines/engine.js'
import { noMongodb, startMongodb } from '../engines/mongodb.js'
import { httpStories } from '../helpers/http-stories.js'
import { connectionOf } from '../helpers/store-kit.js'
import { fourProcesses } from '../helpers/processes.js'

type Options = NonNullable<Parameters<typeof mongodbStore>[0]>

const abilities = ['keysOf', 'removeAllOf', 'count', 'ping'] as const
const impatient = {
  serverSelectionTimeoutMS: 2000, connectTimeoutMS: 2000, socketTimeoutMS: 2000, waitQueueTimeoutMS: 2000
}
const newKey = () => randomBytes(32).toString('base64url')
const newDatabase = () => `test_${process.pid}_${randomBytes(4).toString('hex')}`
const index = (principal: string | null = null) => ({ principal, createdAt: 1 })
const record = (version: string, value: string | Uint8Array = 'data') =>
  ({ value, version, expiresAt: Date.now() + 60_000 })

test('options', async t => {
  for (const url of ['', 'mongodb://', 'http://u:hunter2@host', 27017]) {
    const wrong = () => mongodbStore({ url: url as string })
    t.throws(wrong, { code: 'FST_SESSIONS_OPTION', message: /url must be a URL that begins with 'mongodb:\/\/' or/ })
    t.notMatch(inspect(await failure(async () => wrong())), 'hunter2')
  }
  for (const collection of ['', 'a$b', 'system.users', 'a\0', '1st', 'x'.repeat(101)]) {
    t.throws(() => mongodbStore({ collection }), /collection must be a name of up to 100 letters, digits/)
  }
  t.throws(() => mongodbStore({ database: 'a.b' }), /database must be a name of up to 63 letters, digits/)
  for (const client of [null, {}, 'mongodb://host']) {
    t.throws(() => mongodbStore({ client: client as never }), /client must be a MongoClient, received/)
  }
  const client = new MongoClient('mongodb://127.0.0.1:1')
  const url = 'mongodb://u:hunter2@127.0.0.1:1'
  for (const [given, received] of [[{}, 'none'], [{ url, client }, 'both']] as const) {
    const error = await failure(() => openBackend(mongodbStore(given)))
    t.match(error, {
      code: 'FST_SESSIONS_OPTION',
      message: `mongodb store takes one of the options url and client, received ${received}`
    })
    t.notMatch(inspect(error), 'hunter2')
  }
})

test('a server that is not there is told soon; what the URL says comes first', async t => {
  for (const [query, atLeast, below] of [['', 1900, 3500], ['/?SERVERSELECTIONTIMEOUTMS=200', 150, 1500]] as const) {
    const backend = await open(t, { url: `mongodb://127.0.0.1:1${query}` })
    const begun = performance.now()
    await t.rejects(backend.read(newKey()), { name: 'MongoServerSelectionError' })
    const took = performance.now() - begun
    t.ok(took > atLeast && took < below, `${took} ms`)
  }
})

test('stores with equal URLs ask for the same connection', async t => {
  const url = 'mongodb://127.0.0.1:1'
  const [one, two, other] = await Promise.all([
    { url, collection: 'a' }, { url, collection: 'b' }, { url: url + '/other' }
  ].map(options => connectionOf(mongodbStore(options))))
  t.equal(one, two)
  t.not(one, other)
})

test('a server', { skip: noMongodb }, async t => {
  const engine = await startMongodb(t)
  const { url } = engine

  await t.test('the suite, with the driver of today', async t => {
    const database = newDatabase()
    testBackend({
      test: tolerant(t),
      store: space => mongodbStore({ url, database, collection: space }),
      abilities,
      maxValue: 16_700_000,
      engine: suiteEngine(engine)
    })
  })

  await t.test('the suite, with mongodb 6 and a client of the application', async t => {
    const client = new MongoClient6(url, impatient)
    t.teardown(() => client.close())
    const database = newDatabase()
    testBackend({
      test: tolerant(t),
      store: space => mongodbStore({ client, database, collection: space }),
      abilities,
      maxValue: 16_700_000,
      engine: suiteEngine(engine),
      rounds: 100,
      numRuns: 20
    })
  })

  await t.test('over HTTP', async t => {
    const database = newDatabase()
    const store = (space: string) => mongodbStore({ url, database, collection: space })
    httpStories({ test: t.test, name: 'mongodb', store })
  })

  await t.test('in four processes', async t => {
    fourProcesses({ test: t.test, name: 'mongodb', store: () => ({ type: 'mongodb', url, database: newDatabase() }) })
  })

  await t.test('a server that is silent is told in time', { skip: !engine.control }, async t => {
    const backend = await open(t, { url, database: newDatabase() })
    const fresh = await open(t, { url, database: newDatabase() })
    await Promise.all(Array.from({ length: 5 }, () => backend.read(newKey())))
    await engine.control!.pause()
    try {
      const begun = performance.now()
      await Promise.all([backend, fresh].flatMap(({ read, create, touch, remove, ping }) => {
        const calls: Array<Promise<unknown>> = [
          read(newKey()), create(newKey(), record('1'), index()), touch(newKey(), 1), remove(newKey()), ping!()
        ]
        return calls.map(call => t.rejects(call))
      }))
      t.ok(performance.now() - begun < 4800, 'within the storeTimeout of five seconds')
    } finally {
      await engine.control!.resume()
    }
    t.equal(await backend.read(newKey()), null)
  })

  await t.test('each verb is one command', async t => {
    const client = await connect(t, url, { monitorCommands: true })
    const commands: string[] = []
    client.on('commandStarted', ({ commandName }) => commands.push(commandName))
    const backend = await open(t, { client, database: newDatabase() })
    async function cost (call: () => Promise<unknown>) {
      commands.length = 0
      await call()
      return commands.join()
    }

    const key = newKey()
    t.equal(await cost(() => backend.read(key)), 'createIndexes,find', 'at first use')
    t.equal(await cost(() => backend.create(key, record('1'), index('ada'))), 'insert')
    t.equal(await cost(() => backend.read(key)), 'find')
    t.equal(await cost(() => backend.update(key, record('2'), index('ada'), '1')), 'update')
    t.equal(await cost(() => backend.touch(key, Date.now() + 90_000)), 'update')
    t.equal(await cost(() => backend.update(key, record('3'), index(), '1')), 'update,find', 'conflict or missing')
    t.equal(await cost(() => backend.remove(key, '1')), 'delete,find', 'conflict or missing')
    t.equal(await cost(() => backend.create(key, record('4'), index())), 'insert,update', 'taken or expired')
    t.equal(await cost(() => backend.remove(key, '2')), 'delete')
    t.equal(await cost(() => backend.remove(key)), 'delete')
    t.equal(await cost(() => backend.removeAllOf!('ada')), 'delete')
    t.equal(await cost(() => backend.count!()), 'aggregate')
    t.equal(await cost(() => backend.ping!()), 'ping')
  })

  await t.test('what is stored', async t => {
    const client = await connect(t, url)
    const [database, key] = [newDatabase(), newKey()]
    const { backend, close } = await openBackend(mongodbStore({ url, database }), { namespace: 'auth' })
    t.teardown(close)
    const written = record('one', Uint8Array.of(0, 255))
    await backend.create(key, written, index('ada "\ud800"'))
    const found = await client.db(database).collection('sessions').find({}, { promoteBuffers: true }).toArray()
    t.strictSame(found as unknown[], [{
      _id: `auth:${key}`,
      namespace: 'auth',
      value: Buffer.of(0, 255),
      version: 'one',
      principal: 'ada \\"\\ud800\\"',
      createdAt: new Date(1),
      expiresAt: new Date(written.expiresAt)
    }])
  })

  await t.test('principals that UTF-8 cannot tell apart', async t => {
    const backend = await open(t, { url, database: newDatabase() })
    const principals = ['\ud800', '\ud801', '\ufffd']
    for (const principal of principals) await backend.create(newKey(), record('1'), index(principal))
    for (const principal of principals) t.equal(await backend.removeAllOf!(principal), 1)
  })

  await t.test('the database is the one that the URL names', async t => {
    const client = await connect(t, url)
    const [database, key] = [newDatabase(), newKey()]
    const [server, query = ''] = url.split(/\/?\?/)
    const backend = await open(t, { url: `${server}/${database}?${query}`, collection: 'my.sessions-2' })
    await backend.create(key, record('1'), index())
    t.equal(await client.db(database).collection('my.sessions-2').countDocuments({}), 1)
  })

  await t.test('indexes are created at first use, or by the deployment', async t => {
    const client = await connect(t, url)
    const db = client.db(newDatabase())
    const indexesOf = async (collection: string) => (await db.collection(collection).indexes())
      .map(({ name, expireAfterSeconds }) => [name, expireAfterSeconds])
    const both = [['_id_', undefined], ['session_expiry', 60], ['session_principal', undefined]]

    const automatic = await open(t, { url, database: db.databaseName, collection: 'automatic' })
    await Promise.all([automatic.read(newKey()), automatic.create(newKey(), record('1'), index())])
    t.strictSame(await indexesOf('automatic'), both)

    const manual = await open(t, { url, database: db.databaseName, collection: 'manual', createIndexes: false })
    await manual.create(newKey(), record('1'), index())
    t.strictSame(await indexesOf('manual'), both.slice(0, 1))
    for (let i = 0; i < 2; i++) await ensureSessionIndexes(db.collection('manual'))
    t.strictSame(await indexesOf('manual'), both)
  })

  await t.test('a client of the application may have any settings, and stays open', async t => {
    for (const settings of [
      { promoteBuffers: false, promoteValues: false }, { raw: true }, { w: 0 }, { readPreference: 'secondary' }
    ] as MongoClientOptions[]) {
      const client = await connect(t, url, settings)
      const { backend, close } = await openBackend(mongodbStore({ client, database: newDatabase() }))
      const [text, bytes] = [newKey(), newKey()]
      await backend.create(text, record('1', 'ż'), index('ada'))
      await backend.create(bytes, record('1', Uint8Array.of(0, 255)), index('ada'))
      t.equal((await backend.read(text))?.value, 'ż')
      t.strictSame((await backend.read(bytes))?.value, Buffer.of(0, 255))
      t.equal(await backend.update(text, record('2'), index('ada'), '1'), 'ok')
      t.equal(await backend.removeAllOf!('ada'), 2)
      await close()
      t.equal((await client.db().command({ ping: 1 }, { raw: false, promoteValues: true })).ok, 1)
    }
  })

  await t.test('a client that cannot find its server any more is replaced', { skip: !engine.control }, async t => {
    const clients = clientsOf(t)
    const backend = await open(t, { url: `${url}/${newDatabase()}?serverSelectionTimeoutMS=300` })
    t.equal(await backend.read(newKey()), null)
    await askInVain(clients[0])
    await engine.control!.pause()
    const sent = once(clients[0], 'connectionCheckedOut')
    const interrupted = t.rejects(backend.read(newKey()), { name: 'MongoServerSelectionError' })
    await sent.then(() => setImmediate())
    await engine.control!.kill()
    await interrupted
    await engine.control!.start()
    t.equal(await backend.read(newKey()), null)
  })

  await t.test('indexes that could not be created are tried again', { skip: !engine.control }, async t => {
    const client = await connect(t, url, { ...impatient, serverSelectionTimeoutMS: 300 })
    const database = newDatabase()
    const backend = await open(t, { client, database })
    await engine.control!.kill()
    await t.rejects(backend.read(newKey()))
    await engine.control!.start()
    t.equal(await backend.create(newKey(), record('1'), index()), true)
    t.equal((await client.db(database).collection('sessions').indexes()).length, 3)
  })
})

/**
 * The server of these tests looks at a document and deletes it in two steps (seen with its release 0.1.6: of
 * 3000 races between an update and a delete of one version, six had both matching). MongoDB does it in one.
 */
function tolerant (t: Test) {
  const skip = process.env.MONGODB_URL ? false : 'the server of these tests does not delete in one step'
  return (name: string, run: () => Promise<void>) =>
    t.test(name, { skip: name.startsWith('S23 update races remove of one version') && skip }, run)
}

function suiteEngine ({ control }: Engine): SuiteEngine | undefined {
  return control && { ...control, stop: control.kill }
}

/** The clients that connect from now on. */
function clientsOf (t: Test): MongoClient[] {
  const clients: MongoClient[] = []
  const connect = MongoClient.prototype.connect
  MongoClient.prototype.connect = function (this: MongoClient) {
    clients.push(this)
    return connect.call(this)
  }
  t.teardown(() => { MongoClient.prototype.connect = connect })
  return clients
}

/**
 * Lets the driver ask for a heartbeat on a socket that does what Node's do when the other end has just closed
 * them: it takes nothing, and never drains.
 */
async function askInVain (client: MongoClient): Promise<void> {
  const { topology } = client as unknown as Driver
  for (const { monitor } of topology.s.servers.values()) {
    monitor.connection.socket.write = () => false
    const asked = once(client, 'serverHeartbeatStarted')
    monitor.requestCheck()
    await asked
  }
}

interface Driver {
  topology: { s: { servers: Map<string, { monitor: Monitor }> } }
}

interface Monitor {
  connection: { socket: { write (): boolean } }
  requestCheck (): void
}

async function connect (t: Test, url: string, options: MongoClientOptions = {}) {
  const client = await new MongoClient(url, options).connect()
  t.teardown(() => client.close())
  return client
}

async function open (t: Test, options: Options) {
  const { backend, close } = await openBackend(mongodbStore(options))
  t.teardown(close)
  return backend
}

async function failure (call: () => Promise<unknown>): Promise<unknown> {
  return call().then(() => undefined, error => error)
}
