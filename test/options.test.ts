import type { StorePlugin } from '../lib/index.js'
import type { SessionBackend } from '../types/store.js'
import { Type } from '@sinclair/typebox'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { test } from 'tap'
import sessions, { defineStore, Live } from '../lib/index.js'
import { checkOptions, nearest, show } from '../lib/base/options.js'
import { checkSessionOptions, sessionSchema } from '../lib/config/session-options.js'
import { memoryStore } from '../stores/memory.js'
import { startApp } from './helpers/app.js'
import { counting, memoryBackend } from './helpers/backends.js'
import { startVisits } from './helpers/visits.js'

/** An option's error with exactly this text: tap takes a string for a part of what it compares. */
function wrong (message: string) {
  return { code: 'FST_SESSIONS_OPTION', message: new RegExp(`^${message.replace(/[^\w ]/g, '\\$&')}$`) }
}

const seconds = 'a number of seconds greater than 0, or null'
const secrets = 'a string or buffer of at least 32 bytes, or an array of them'
const aStore = "a store, or an object with its type, as in { type: 'memory' }"
const flag = 'true or false'

/** What each option must be, wrong values of it, and how they are shown. */
const table: Array<[option: string, expected: string, wrongs: Array<[value: unknown, shown: string]>]> = [
  ['store', aStore, [
    [null, 'null'], ['redis', 'a string of 5 characters'], [{}, 'an object'], [{ type: 1 }, 'an object'],
    [() => {}, 'a function'], [7, '7']
  ]],
  ['secret', secrets, [
    ['x'.repeat(31), 'a string of 31 characters'], [Buffer.alloc(31), 'an object'], [[], 'an array of 0'], [7, '7'],
    [['y'.repeat(32), 'short'], 'an array of 2'], [['y'.repeat(32), 1], 'an array of 2'], [null, 'null']
  ]],
  ['load', "'lazy' or 'eager'", [['later', "'later'"], [true, 'true'], [null, 'null']]],
  ['idleTimeout', seconds, [[0, '0'], [-1, '-1'], ['60', "'60'"], [NaN, 'NaN'], [{}, 'an object']]],
  ['absoluteTimeout', seconds, [[0, '0'], [Infinity, 'Infinity'], [[], 'an array of 0']]],
  ['touchInterval', 'a number of at least 0', [[-1, '-1'], [null, 'null']]],
  ['regenerate', "'keep' or 'clear'", [['all', "'all'"], [false, 'false'], [null, 'null']]],
  ['rememberFor', 'a number greater than 0', [[0, '0'], [null, 'null']]],
  ['cookie', 'an object', [[true, 'true'], [[], 'an array of 0'], [new Map(), 'an object']]],
  ['cookie.name', 'a string', [[1, '1']]],
  ['cookie.domain', 'a string', [[true, 'true'], [null, 'null']]],
  ['cookie.path', 'a string', [[null, 'null']]],
  ['cookie.httpOnly', flag, [['no', "'no'"], [0, '0']]],
  ['cookie.secure', "true or false or 'auto'", [['always', "'always'"]]],
  ['cookie.sameSite', "'strict', 'lax' or 'none'", [['Lax', "'Lax'"], [true, 'true'], [false, 'false']]],
  ['cookie.partitioned', flag, [[1, '1']]],
  ['cookie.priority', "'low', 'medium' or 'high'", [['urgent', "'urgent'"]]],
  ['cookie.persistent', flag, [[1n, 'a bigint']]],
  ['cookie.maxAge', 'a whole number of at least 1', [[0, '0'], [1.5, '1.5'], [null, 'null']]],
  ['idBytes', 'a whole number of at least 16 and of at most 64', [[15, '15'], [65, '65'], [16.5, '16.5']]],
  ['generateId', 'a function', [['uuid', 'a string of 4 characters'], [{}, 'an object']]],
  ['storeTimeout', 'a number greater than 0 and of at most 3600', [[0, '0'], [3601, '3601']]],
  ['sweepInterval', 'a number of seconds from 1 to 86400, or null', [[0.5, '0.5'], [86401, '86401']]],
  ['encryption', flag, [[1, '1'], ['aes', "'aes'"], [null, 'null']]],
  ['serializer', 'an object with a name of 1 to 40 characters and the functions serialize and deserialize', [
    ['v8', 'a string of 2 characters'], [null, 'null'], [{ serialize () {}, deserialize () {} }, 'an object'],
    [{ name: '', serialize () {}, deserialize () {} }, 'an object'], [{ name: 'x', serialize () {} }, 'an object'],
    [{ name: 'x\n', serialize () {}, deserialize () {} }, 'an object'], [{ name: 'x', deserialize () {} }, 'an object']
  ]],
  ['maxSize', 'a whole number of at least 256', [[255, '255'], [1e3 + 0.5, '1000.5']]],
  ['onCorrupt', "'ignore' or 'throw'", [['x'.repeat(61), 'a string of 61 characters'], [Symbol('s'), 'a symbol']]],
  ['name', 'a letter and up to 39 of A-Z a-z 0-9 _ -', [
    ['', "''"], ['1st', "'1st'"], ['a b', "'a b'"], ['x'.repeat(41), `'${'x'.repeat(41)}'`], [null, 'null']
  ]],
  ['maxPerUser', 'a whole number of at least 1', [[0, '0'], [1.5, '1.5'], [null, 'null']]],
  ['onMaxPerUser', "'evict' or 'refuse'", [['throw', "'throw'"]]],
  ['metadata', flag, [['ip', "'ip'"]]],
  ['renewInterval', 'a number of seconds greater than 0, or null', [[0, '0'], ['1', "'1'"]]],
  ['renewGrace', 'a number of at least 0', [[-1, '-1'], [null, 'null']]],
  ['schema', 'a TypeBox schema made with Type.Object()', [[{}, 'an object'], [true, 'true']]],
  ['migrate', 'a function', [[{}, 'an object']]],
  ['sessions', 'an object of sessions by their names', [
    [null, 'null'], [[], 'an array of 0'], [{}, 'an object'], [{ a: null }, 'an object'], ['a', 'a string of 1 characters']
  ]],
  ['clock', 'an object with a method now()', [
    [7, '7'], [{}, 'an object'], [null, 'null'], [{ now: 1 }, 'an object']
  ]]
]

function nest (option: string, value: unknown): object {
  const [outer, inner] = option.split('.')
  return inner === undefined ? { [outer]: value } : { [outer]: { [inner]: value } }
}

test('F2 each option that is wrong is an error that names it, says what it must be, and what it was', async t => {
  for (const [option, expected, wrongs] of table) {
    for (const [value, shown] of wrongs) {
      t.throws(() => checkSessionOptions(nest(option, value)),
        wrong(`session option ${option} must be ${expected}, received ${shown}`))
    }
  }
  const fields = ({ properties }: { properties: object }) => Object.keys(properties)
  t.strictSame(table.map(([option]) => option).filter(option => !option.includes('.')).sort(),
    fields(sessionSchema).sort(), 'all options are here')
  t.strictSame(table.map(([option]) => option).filter(option => option.startsWith('cookie.')).sort(),
    fields(sessionSchema.properties.cookie).map(field => `cookie.${field}`).sort())
})

test('F2 an unknown option is an error, with a suggestion where one is near', async t => {
  for (const [options, message] of [
    [{ sceret: 'x' }, 'session option sceret is unknown; did you mean secret?'],
    [{ idletimeout: 1 }, 'session option idletimeout is unknown; did you mean idleTimeout?'],
    [{ saveUninitialized: false }, 'session option saveUninitialized is unknown'],
    [{ cookie: { httponly: true } }, 'session option cookie.httponly is unknown; did you mean cookie.httpOnly?'],
    [{ cookie: { signed: true } }, 'session option cookie.signed is unknown'],
    [JSON.parse('{ "__proto__": {} }'), 'session option __proto__ is unknown'],
    [{ constructor: 1 }, 'session option constructor is unknown']
  ] as const) t.throws(() => checkSessionOptions(options), wrong(message))
  for (const [options, shown] of [
    [null, 'null'], [[], 'an array of 0'], ['memory', "'memory'"], [new Map(), 'an object']
  ]) {
    t.throws(() => checkSessionOptions(options), wrong(`session options must be an object, received ${shown}`))
  }
})

test('F2 defaults are filled in; what is kept is a frozen copy; the received object stays as it is', async t => {
  const received = Object.freeze({ cookie: Object.freeze({ path: '/app' }), idleTimeout: undefined, load: 'eager' })
  const checked = checkSessionOptions(received)
  t.strictSame(received, { cookie: { path: '/app' }, idleTimeout: undefined, load: 'eager' })
  const { generateId, clock, codec, schema: dataSchema, ...rest } = checked
  t.equal(dataSchema, null)
  t.strictSame(rest, {
    load: 'eager',
    idleTimeout: 1800,
    renewInterval: null,
    renewGrace: 30,
    absoluteTimeout: 43200,
    touchInterval: 60,
    regenerate: 'keep',
    rememberFor: 2592000,
    cookie: { path: '/app', httpOnly: true, secure: true, sameSite: 'lax', partitioned: false, persistent: false },
    idBytes: 32,
    storeTimeout: 5,
    sweepInterval: 300,
    encryption: false,
    maxSize: 65536,
    onCorrupt: 'ignore',
    onMaxPerUser: 'evict',
    metadata: false,
    name: 'session',
    store: { type: 'memory' },
    secrets: null
  })
  t.equal(typeof generateId, 'function')
  t.ok(Math.abs(clock.now() - Date.now()) < 1000)
  t.equal(Object.isFrozen(checked), true)
  t.equal(Object.isFrozen(checked.cookie), true)
  t.strictSame(checkSessionOptions(undefined).cookie.path, '/')
  t.strictSame(checkSessionOptions(Object.create(null)).cookie.path, '/')
  const none = checkSessionOptions({ idleTimeout: null, absoluteTimeout: null, sweepInterval: null })
  t.strictSame([none.idleTimeout, none.absoluteTimeout, none.sweepInterval], [null, null, null])
  t.strictSame(checkSessionOptions({ secret: 'x'.repeat(32) }).secrets, ['x'.repeat(32)])
})

test('F2 a generator that repeats itself is found at boot', async t => {
  t.throws(() => checkSessionOptions({ generateId: () => 'x'.repeat(32) }),
    wrong('session option generateId returned the same id twice'))
})

test('options live: what is handed over is handed on, neither copied, nor frozen, nor shown', async t => {
  const client = { nested: {} }
  const schema = Type.Object({
    client: Live<object>('a client', value => value === client, 'A client.'),
    password: Type.String({ sensitive: true, pattern: '^$' }),
    list: Type.Array(Type.Object({ n: Type.Number() }), { default: [] }),
    tags: Type.Array(Type.String(), { default: [] }),
    label: Type.String({ minLength: 1, default: 'x' }),
    mode: Type.Union([Type.Literal(1), Type.Null()], { default: null }),
    inner: Type.Optional(Type.Object({ n: Type.Number({ default: 1 }) }))
  })
  const check = (options: object) => checkOptions(schema, { client, password: '', ...options }, 'test store')
  const list = [{ n: 1 }]
  const checked = check({ list })
  t.equal(checked.client, client)
  t.equal(Object.isFrozen(client), false)
  t.not(checked.list, list)
  t.strictSame(checked.list, list)
  t.equal(Object.isFrozen(checked.list[0]), true)
  t.equal(checked.inner, undefined)
  t.strictSame(check({ inner: {} }).inner, { n: 1 })
  for (const [options, message] of [
    [{ client: undefined }, 'client must be a client, received nothing'],
    [{ client: 'secret' }, 'client must be a client, received a string of 6 characters'],
    [{ password: 'secret' }, 'password must be a string, received a string of 6 characters'],
    [{ password: undefined }, 'password must be a string, received nothing'],
    [{ list: [1] }, 'list must be an array whose items are each an object, received an array of 1'],
    [{ tags: 'a' }, "tags must be an array whose items are each a string, received 'a'"],
    [{ label: '' }, "label must be a non-empty string, received ''"],
    [{ mode: 2 }, 'mode must be 1 or null, received 2'],
    [{ inner: null }, 'inner must be an object, received null'],
    [{ inner: { n: '1' } }, "inner.n must be a number, received '1'"],
    [{ inner: { m: 1 } }, 'inner.m is unknown; did you mean inner.n?']
  ] as const) t.throws(() => check(options), wrong(`test store option ${message}`))
  t.equal(nearest('anything', []), undefined)
  t.equal(show(undefined), 'nothing')
})

/** Resolves when the application boots. */
async function boot (options: unknown) {
  const app = Fastify()
  try {
    await app.register(cookie)
    await app.register(sessions, options as object)
    await app.ready()
  } finally {
    await app.close()
  }
}

test('F2 a wrong option ends the start of the application', async t => {
  await t.rejects(boot({ secret: 'short' }),
    wrong(`session option secret must be ${secrets}, received a string of 5 characters`))
  await t.rejects(boot({ store: { type: 'rediss', url: 'redis://secret@localhost' } }), {
    code: 'FST_SESSIONS_OPTION',
    message: /^session option store\.type 'rediss' is unknown; there are memory, file, .*; did you mean 'redis'\?$/
  })
  await t.rejects(boot({ store: { type: 'oracle' } }),
    { message: /^session option store\.type 'oracle' is unknown; there are memory, file, [a-z, ]+$/ })
  await t.rejects(boot({ store: { type: 'constructor' } }), { code: 'FST_SESSIONS_OPTION' })
  await t.rejects(boot({ store: { type: 'memory', maxEntries: 0 } }),
    wrong('memory store option maxEntries must be a whole number of at least 1, received 0'))
  await t.rejects(boot({ store: { type: 'memory', maxentries: 1 } }),
    wrong('memory store option maxentries is unknown; did you mean maxEntries?'))
  await t.rejects(boot({ store: { type: 'null', any: 1 } }), wrong('null store option any is unknown'))
  const methods = 'an object with the methods read, create, update, touch, remove'
  for (const [backend, shown] of [[undefined, 'nothing'], [null, 'null'], [{ read () {} }, 'an object'], [7, '7']]) {
    await t.rejects(boot({ store: { type: 'custom', backend } }),
      wrong(`custom store option backend must be ${methods}, received ${shown}`))
  }
  t.throws(() => memoryStore({ maxEntries: 'many' } as never),
    wrong("memory store option maxEntries must be a whole number of at least 1, received 'many'"))
})

test('F2 a store that does not give itself up is an error', async t => {
  const impostor = Object.assign(async () => {}, { [Symbol.for('fastify-sessions.store')]: 'impostor' })
  await t.rejects(boot({ store: impostor as unknown as StorePlugin }),
    wrong('session option store must be made with defineStore'))
})

test('F2 an error of a store names the session that it is about', async t => {
  const { read, create, update, touch, remove } = await memoryBackend()
  const plain = { type: 'custom', backend: { read, create, update, touch, remove } }
  const impostor = Object.assign(async () => {}, { [Symbol.for('fastify-sessions.store')]: 'impostor' })
  const cases: Array<[object, string]> = [
    [{ maxPerUser: 1, store: plain }, 'maxPerUser needs a store that lists the sessions of a user; custom does not'],
    [{ renewInterval: 100, secret: 's'.repeat(32), store: { type: 'cookie' } },
      'renewInterval must be null for the cookie store, whose cookie is new with each write'],
    [{ store: { type: 'cookie' } }, 'secret must be set: it seals the cookie'],
    [{ store: impostor }, 'store must be made with defineStore']
  ]
  for (const [cart, message] of cases) {
    await t.rejects(boot({ sessions: { auth: {}, cart: { ...cart, fields: ['items'] } } }),
      wrong(`session 'cart' option ${message}`))
  }
  await t.rejects(boot({ sessions: { auth: {}, cart: { store: { type: 'nowhere' }, fields: ['items'] } } }),
    { message: /^session 'cart' option store.type 'nowhere' is unknown/ })
})

test('F2 a store is chosen by data or by value, and the options stay as they are', async t => {
  const store = Object.freeze({ type: 'memory', maxEntries: 5 })
  const options = Object.freeze({ store, cookie: Object.freeze({ path: '/' }) })
  for (const chosen of [options, { store: memoryStore({ maxEntries: 5 }) }, {}]) {
    const visit = await startVisits(t, chosen)
    await visit(async session => (await session.load()).set('visits', 1))
    await visit(async session => t.equal((await session.load()).visits, 1))
  }
  t.strictSame(options, { store: { type: 'memory', maxEntries: 5 }, cookie: { path: '/' } })
})

test('K14 a secret that is given but undefined is an error, not a session without one', async t => {
  t.throws(() => checkSessionOptions({ secret: undefined }), {
    code: 'FST_SESSIONS_OPTION',
    message: /^session option secret was given, but is undefined; is an environment variable missing\?/
  })
  t.equal(checkSessionOptions({}).secrets, null)
})

test('what looks like a URL is not shown: it may carry a password', async t => {
  t.equal(show('redis://:hunter2@127.0.0.1'), 'a string of 26 characters')
})

test('F2 every built-in store can be named', async t => {
  const secret = 'x'.repeat(32)
  const backend = await memoryBackend()
  const named = {
    memory: {},
    file: { directory: t.testdir() },
    null: {},
    custom: { backend },
    redis: {},
    sql: { dialect: 'sqlite', filename: ':memory:', createTable: true },
    mongodb: { url: 'mongodb://127.0.0.1' },
    memcached: {},
    dynamodb: { region: 'local' },
    elasticsearch: {},
    firestore: { projectId: 'a-project' },
    datastore: { projectId: 'a-project' },
    express: { store: { get () {}, set () {}, destroy () {} } },
    cookie: {}
  }
  for (const [type, options] of Object.entries(named)) {
    await t.resolves(startApp(t, { secret, store: { type, ...options } }, () => {}), type)
  }
  const { message } = await startApp(t, { store: { type: 'none' } }, () => {}).catch(error => error)
  for (const type of Object.keys(named)) t.match(message, type)
})

test('F2 a store of one’s own, by value', async t => {
  const backend = counting(await memoryBackend())
  const visit = await startVisits(t, { store: { type: 'custom', backend } })
  await visit(async session => (await session.load()).set('visits', 1))
  await visit(async session => t.equal((await session.load()).visits, 1))
  t.strictSame(backend.calls, ['create', 'read'])
})

test('F3 the null store: reads are empty, writes say what to set', async t => {
  const visit = await startVisits(t, { store: { type: 'null' } })
  const refused = {
    code: 'FST_SESSIONS_NO_STORE',
    message: "no session store is configured (store: { type: 'null' }); set the option store to keep sessions"
  }
  const cookie = '__Host-session=' + 'x'.repeat(43)
  for (const load of [false, true]) {
    const response = await visit(async session => {
      if (load) t.equal(await session.load(), session)
      t.strictSame(session.data(), {})
      t.strictSame(Object.keys(session), [])
      t.equal(session.get('cart'), undefined)
      t.equal(session.cart, undefined)
      t.equal('cart' in session, false)
      t.equal(session.isNew, true)
      t.throws(() => { session.visits = 1 }, refused)
      t.throws(() => session.set('visits', 1), refused)
      t.throws(() => session.update('visits', () => 1), refused)
      t.throws(() => delete session.visits, refused)
      t.throws(() => session.clear(), refused)
      for (const verb of ['regenerate', 'destroy', 'logout'] as const) await t.rejects(session[verb](), refused)
      await t.rejects(session.login('ada'), refused)
      await t.rejects(session.remember(), refused)
      await session.touch()
      await session.reload()
      await session.save()
    })
    t.equal(response.statusCode, 200)
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.equal((await visit.app.inject({ url: '/', headers: { cookie } })).statusCode, 200, 'no cookie is looked at')
})

test('F3 nothing reaches the null store itself', async t => {
  let opened: { store: Record<string, () => Promise<unknown>> } | undefined
  const { nullStore } = await import('../stores/null.js')
  const app = Fastify()
  await app.register(nullStore(), {
    context: undefined as never,
    drained: async () => {},
    opened (_type, store) { opened = store as never }
  })
  await app.close()
  for (const verb of ['load', 'create', 'update', 'touch', 'remove']) {
    await t.rejects(opened!.store[verb](), { code: 'FST_SESSIONS_NO_STORE' })
  }
})

test('F4 stores that ask for the same connection share it, and it is closed once, after the last', async t => {
  const log: string[] = []
  const sharing = defineStore({
    type: 'sharing',
    options: Type.Object({}),
    async open (_options, context) {
      const open = async () => ({ n: log.push('open') })
      const close = async () => log.push('close')
      const [one, two, other] = ['a', 'a', 'b'].map(url => context.connect('sharing', { url }, open, close))
      t.equal(one, two)
      t.not(one, other)
      t.equal(context.name, 'session')
      t.equal(context.namespace, '')
      const memory: SessionBackend = await memoryBackend(context.clock)
      return {
        backend: {
          ...memory,
          async read (key) {
            await Promise.all([one.get(), two.get()])
            return memory.read(key)
          },
          async close () {
            await one.close()
            log.push('one user left')
            await two.close()
            await other.close()
          }
        }
      }
    }
  })
  const app = await startApp(t, { store: sharing() }, app => {
    app.get('/', async ({ session }) => (await session.load()).data())
  })
  t.strictSame(log, [], 'nothing is opened at boot')
  const headers = { cookie: `__Host-session=${'x'.repeat(43)}` }
  await app.inject({ url: '/', headers })
  await app.inject({ url: '/', headers })
  t.strictSame(log, ['open'])
  await app.close()
  t.strictSame(log, ['open', 'one user left', 'close'])
})
