import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import type { Session, SessionOptions } from '../lib/index.js'
import type { SessionBackend } from '../types/store.js'
import { checkSessionOptions } from '../lib/config/session-options.js'
import { memoryBackend } from './helpers/backends.js'
import { setCookies, watch } from './helpers/stage.js'
import { startVisits } from './helpers/visits.js'

interface Teardown { teardown (fn: () => unknown): void }

const schema = Type.Object({
  cart: Type.Array(Type.String()),
  visits: Type.Optional(Type.Integer({ minimum: 0 }))
})

/** Visitors of two versions of an application: the first knows no schema. */
async function startVersions (t: Teardown, options: SessionOptions) {
  const values: string[] = []
  const inner = await memoryBackend()
  const backend: SessionBackend = {
    ...inner,
    async update (key, record, index, version) {
      values.push(String(record.value))
      return inner.update(key, record, index, version)
    }
  }
  const store = { type: 'custom', backend }
  const before = await startVisits(t, { store })
  const after = await startVisits(t, { store, ...options })
  const [first] = [before, after].map(({ client }) => client)
  /** A session that the first version has stored, presented to the second. */
  async function inherit (data: Record<string, unknown>) {
    await first.clear()
    const response = await before(async session => {
      await session.load()
      for (const [key, value] of Object.entries(data)) session.set(key, value)
    })
    const [cookie] = setCookies(response)[0].split(';')
    const inject = after.app.inject.bind(after.app)
    after.client.inject = async () => inject({ url: '/', headers: { cookie } })
    return after
  }
  return { after, inherit, values }
}

test('D14 what is written fits the schema, or nothing is written', async t => {
  const visit = await startVisits(t, { schema })
  const fill = (data: Record<string, unknown>) => visit(async session => {
    await session.load()
    for (const [key, value] of Object.entries(data)) session.set(key, value)
  })
  t.equal((await fill({ visits: 1 })).statusCode, 200, 'a field may be absent')
  t.equal((await fill({ cart: ['apple'], other: true })).statusCode, 200, 'others are not forbidden')
  for (const [data, message] of [
    [{ cart: 'secret' }, 'the session does not fit its schema: cart: Expected array'],
    [{ cart: ['apple', { secret: 'secret' }] }, 'the session does not fit its schema: cart.1: Expected string'],
    [{ visits: -1 }, 'the session does not fit its schema: visits: Expected integer to be greater or equal to 0']
  ] as const) {
    const response = await fill(data)
    t.equal(response.statusCode, 500)
    t.match(response.json(), { code: 'FST_SESSIONS_SCHEMA', message })
    t.notMatch(response.body, /secret/)
    t.strictSame(setCookies(response), [])
  }
  await visit(async session => {
    await session.load()
    t.strictSame(session.data(), { visits: 1, cart: ['apple'], other: true })
    session.set('visits', 1.5)
    await t.rejects(session.save(), { code: 'FST_SESSIONS_SCHEMA' })
    session.set('visits', 2)
    await session.save()
  })
})

test('D14 fields named like what every object inherits may be absent, and have to fit', async t => {
  const fields = { constructor: Type.String(), toString: Type.String(), visits: Type.Integer() }
  const visit = await startVisits(t, { schema: Type.Object(fields) })
  const write = (key: string, value: unknown) => visit(async session => {
    (await session.load()).set(key, value)
  })
  t.equal((await write('visits', 1)).statusCode, 200)
  t.equal((await write('constructor', 'Eiffel')).statusCode, 200)
  t.equal((await write('toString', 1)).json().message,
    'the session does not fit its schema: toString: Expected string')
  const { body } = await visit(async session => (await session.load()).data())
  t.equal(body, '{"visits":1,"constructor":"Eiffel"}')
})

test('D14 a record that does not fit is corrupt', async t => {
  const { inherit, values } = await startVersions(t, { schema })
  const seen = watch(t, 'corrupt')
  const fitting = await inherit({ cart: ['apple'] })
  await fitting(async session => t.strictSame((await session.load()).data(), { cart: ['apple'] }))
  t.strictSame(seen, [])

  const visit = await inherit({ cart: 'apple' })
  const response = await visit(async session => {
    await session.load()
    t.ok(session.isNew)
    t.strictSame(session.data(), {})
    session.set('cart', [])
  })
  t.equal(seen.length, 1)
  t.equal(setCookies(response).length, 1, 'a new session')
  t.strictSame(values, [], 'the old record is left alone')

  const strict = await startVersions(t, { schema, onCorrupt: 'throw' })
  await t.rejects((await strict.inherit({ cart: 1 }))(session => session.load()), { code: 'FST_SESSIONS_CORRUPT' })
})

test('D14 a record that does not fit is migrated, and stored so at the next write', async t => {
  const migrate = (data: Record<string, unknown>) => {
    if (data.cart === 'bad') throw new Error('secret')
    if (data.cart === 'worse') return { cart: 7 }
    return { ...data, cart: String(data.cart).split(',') }
  }
  const { inherit, values } = await startVersions(t, { schema, migrate })
  const visit = await inherit({ cart: 'apple,pear', other: 1 })
  const read = async (session: Session) => {
    t.strictSame((await session.load()).data(), { cart: ['apple', 'pear'], other: 1 })
    t.notOk(session.isModified())
  }
  await visit(read)
  t.strictSame(values, [])
  await visit(async session => {
    await read(session)
    session.set('visits', 1)
  })
  t.strictSame(JSON.parse(values[0]).data, { cart: ['apple', 'pear'], other: 1, visits: 1 })

  const seen = watch(t, 'corrupt')
  for (const cart of ['bad', 'worse']) {
    const visit = await inherit({ cart })
    await visit(async session => t.strictSame((await session.load()).data(), {}))
  }
  t.equal(seen.length, 2)
})

test('D14 wrong options are told at boot', async t => {
  const kind = 'session option schema must be a TypeBox schema made with Type.Object(), received'
  for (const [options, message] of [
    [{ schema: {} }, `${kind} an object`],
    [{ schema: Type.String() }, `${kind} an object`],
    [{ schema: null }, `${kind} null`],
    [{ schema: 'cart' }, `${kind} a string of 4 characters`],
    [{ schema, migrate: {} }, 'session option migrate must be a function, received an object'],
    [{ migrate: () => ({}) }, 'session option migrate needs the option schema']
  ] as const) t.throws(() => checkSessionOptions(options), { code: 'FST_SESSIONS_OPTION', message })
})
