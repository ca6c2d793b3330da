import type { StorePlugin, StoreRegistration } from '../lib/define-store.js'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test } from 'tap'
import { defineStore, importDriver, isStorePlugin } from '../lib/define-store.js'
import { Resource, connectionKey } from '../lib/base/resource.js'
import { nullStore } from '../stores/null.js'
import { openBackend } from '../lib/testing/open-store.js'
import { memoryBackend } from './helpers/backends.js'

function holder () {
  const log: string[] = []
  const resource = new Resource(async () => {
    log.push('open')
    return { open: log.length }
  }, async () => log.push('close'))
  return { log, resource }
}

test('a resource opens at the first use, once for parallel callers, and closes once', async t => {
  const { log, resource } = holder()
  t.strictSame(log, [])
  const [one, two] = await Promise.all([resource.get(), resource.get()])
  t.equal(one, two)
  t.equal(await resource.get(), one)
  await Promise.all([resource.close(), resource.close()])
  await resource.close()
  t.strictSame(log, ['open', 'close'])
  await t.rejects(resource.get(), { message: 'it is closed' })
})

test('a resource that was never used is not opened to be closed', async t => {
  const { log, resource } = holder()
  await resource.close()
  t.strictSame(log, [])
})

test('a shared resource closes after its last user', async t => {
  const { log, resource } = holder()
  t.equal(resource.share(), resource)
  await resource.get()
  await resource.close()
  t.strictSame(log, ['open'])
  await resource.get()
  await resource.close()
  t.strictSame(log, ['open', 'close'])
})

test('a failed opening is forgotten: the next caller tries again', async t => {
  let attempts = 0
  const closed: number[] = []
  const resource = new Resource(async () => {
    if (++attempts < 3) throw new Error(`attempt ${attempts}`)
    return attempts
  }, async opened => closed.push(opened))
  await t.rejects(resource.get(), { message: 'attempt 1' })
  await Promise.all([
    t.rejects(resource.get(), { message: 'attempt 2' }),
    t.rejects(resource.get(), { message: 'attempt 2' })
  ])
  t.equal(await resource.get(), 3)
  await resource.close()
  t.strictSame(closed, [3])
})

test('a resource that is closed while it opens is closed when it is open, and not when it fails', async t => {
  for (const fails of [false, true]) {
    let settle = () => {}
    let closed = 0
    const resource = new Resource(() => new Promise<number>((resolve, reject) => {
      settle = () => fails ? reject(new Error('refused')) : resolve(1)
    }), async () => closed++)
    const getting = resource.get().catch(() => {})
    const closing = resource.close()
    settle()
    await Promise.all([getting, closing])
    t.equal(closed, fails ? 0 : 1)
  }
})

test('a resource that is of no use any more is closed, once, and the next caller opens another', async t => {
  const { log, resource } = holder()
  const opened = resource.get()
  const first = await opened
  resource.renew(opened)
  resource.renew(opened)
  const [second] = await Promise.all([resource.get(), resource.get()])
  t.not(second, first)
  t.strictSame(log, ['open', 'open', 'close'])
  resource.renew(opened)
  const last = resource.get()
  t.equal(await last, second, 'that was about the first one')
  await resource.close()
  resource.renew(last)
  await last
  t.strictSame(log, ['open', 'open', 'close', 'close'])
})

test('a resource that cannot be closed in good order is another one all the same', async t => {
  const resource = new Resource(async () => ({}), async () => { throw new Error('it hangs') })
  const opened = resource.get()
  const first = await opened
  resource.renew(opened)
  t.not(await resource.get(), first)
})

test('options are of one connection when they say the same, and what says nothing is itself', async t => {
  const agent = new Map()
  const retry = () => 1
  const options = (agent: unknown) => ({ url: 'a', tls: { ca: [Buffer.from('ca')], agent }, retry })
  t.equal(connectionKey('redis', options(agent)), connectionKey('redis', options(agent)))
  t.equal(connectionKey('redis', Object.assign(Object.create(null), { url: 'a' })), connectionKey('redis', { url: 'a' }))
  const different = [
    options(agent), options(new Map()), options({}), options(null), {}, { url: 'a' }, { url: 'b' }, ['a'], 'a',
    { retry }, { retry: () => 1 }, { url: true }, { url: 'true' }
  ]
  const keys = new Set(different.map(value => connectionKey('redis', value)))
  t.equal(keys.size, different.length)
  t.notOk(keys.has(connectionKey('memcached', { url: 'a' })), 'nor of stores of two types')
  t.notOk([...keys].some(key => !/^[\w-]{43}$/.test(key)), 'a key tells nothing')
})

test('a missing driver is an error that says what to install', async t => {
  const cause = new Error("Cannot find package 'ioredis'")
  await t.rejects(importDriver('redis', 'ioredis', () => Promise.reject(cause)), {
    code: 'FST_SESSIONS_DRIVER',
    message: 'the redis store needs a package that is not installed; run: npm install ioredis',
    cause
  })
  t.equal(await importDriver('redis', 'ioredis', async () => 7), 7)
})

test('a store is told from any other function', async t => {
  t.equal(isStorePlugin(nullStore()), true)
  for (const other of [() => {}, nullStore, {}, null, 'memory']) t.equal(isStorePlugin(other), false)
})

test('a store closes what it opened after the last commit, and needs no close()', async t => {
  const log: string[] = []
  const memory = await memoryBackend()
  const plain = defineStore({ type: 'plain', options: Type.Object({}), open: () => ({ backend: memory }) })
  const closing = defineStore({
    type: 'closing',
    options: Type.Object({}),
    open: () => ({ backend: { ...memory, close: async () => { log.push('close') } } })
  })
  const run = async (plugin: StorePlugin) => {
    const app = Fastify()
    const registration: StoreRegistration = {
      context: undefined as never,
      async drained () { log.push('drained') },
      opened (type, opened) { log.push(type, Object.keys(opened).join()) }
    }
    await app.register(plugin, registration)
    await app.close()
  }
  await run(closing())
  t.strictSame(log.splice(0), ['closing', 'backend', 'drained', 'close'])
  await run(plain())
  t.strictSame(log.splice(0), ['plain', 'backend', 'drained'])
  await run(nullStore())
  t.strictSame(log, ['null', 'store'])
})

test('a store that fails to close is told of, and holds up nothing', async t => {
  const memory = await memoryBackend()
  const warnings: object[] = []
  const failing = defineStore({
    type: 'failing',
    options: Type.Object({}),
    open: () => ({ backend: { ...memory, close: async () => { throw new Error('already gone') } } })
  })
  const { close } = await openBackend(failing(), {
    log: { debug () {}, info () {}, error () {}, warn: fields => warnings.push(fields) }
  })
  await close()
  t.match(warnings, [{ store: 'failing', err: { message: 'already gone' } }])
})

test('openBackend opens backends only, and keeps what they log to itself', async t => {
  await t.rejects(openBackend(nullStore()), new TypeError('the store has no backend to open'))
  const memory = await memoryBackend()
  const talking = defineStore({
    type: 'talking',
    options: Type.Object({}),
    open (_options, { log }) {
      for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level]({}, 'a line')
      return { backend: memory }
    }
  })
  await (await openBackend(talking())).close()
})
