import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Session, SessionOptions } from '../lib/index.js'
import type { SessionBackend } from '../types/store.js'
import { Writable } from 'node:stream'
import { inspect } from 'node:util'
import { test } from 'tap'
import { driverCause, isSessionsError, OptionError, StoreError } from '../lib/errors.js'
import { createClient } from '../lib/testing/client.js'
import { TestClock } from '../lib/testing/clock.js'
import { startApp } from './helpers/app.js'
import { around, counting, gated, memoryBackend } from './helpers/backends.js'
import { watch } from './helpers/stage.js'
import { startVisits } from './helpers/visits.js'

type Verb = 'read' | 'create' | 'update' | 'touch' | 'remove'

/** A store that fails on demand, and a browser with a session in it. */
async function startStored (t: Parameters<typeof startVisits>[0], options: SessionOptions = {}) {
  const clock = new TestClock()
  const memory = counting(await memoryBackend(clock))
  const faults: { verb?: Verb, error?: unknown } = {}
  const backend = around(memory, (verb, call) => {
    return verb === faults.verb ? Promise.reject(faults.error) : call()
  })
  const visit = await startVisits(t, { clock, store: { type: 'custom', backend }, ...options })
  await visit(async session => (await session.load()).set('visits', 1))
  const cookie = await visit.client.cookies()
  const read = async () => (await visit(async session => (await session.load()).data())).json()
  return { visit, clock, memory, faults, cookie, read }
}

const unavailable = { statusCode: 503, code: 'FST_SESSIONS_STORE', error: 'Service Unavailable' }

test('D5 a store that fails is an error, never an empty session', async t => {
  const { visit, faults, cookie, read, memory } = await startStored(t)
  Object.assign(faults, { verb: 'read', error: new Error('connection refused') })
  await t.rejects(visit(session => session.load()), {
    code: 'FST_SESSIONS_STORE', message: 'the session store failed: read', cause: { message: 'connection refused' }
  })
  const response = await visit(async (session, _request, reply) => {
    await t.rejects(session.load(), { code: 'FST_SESSIONS_STORE' })
    await t.rejects(session.login('ada'), { code: 'FST_SESSIONS_STORE' })
    t.throws(() => session.set('visits', 2), { code: 'FST_SESSIONS_STORE' })
    faults.verb = undefined
    t.equal((await session.load()).get('visits'), 1, 'a failed load is tried again')
    return reply.code(200).send('ok')
  })
  t.equal(response.statusCode, 200)
  t.equal(await visit.client.cookies(), cookie)
  t.strictSame(await read(), { visits: 1 })
  t.notOk(memory.calls.includes('update'))
})

for (const [verb, change] of Object.entries({
  create: async session => {
    await session.destroy()
    session.set('visits', 2)
  },
  update: async session => session.set('visits', 2),
  touch: async session => session.touch(),
  remove: async session => session.destroy()
} satisfies Record<Exclude<Verb, 'read'>, (session: Session) => Promise<void>>)) {
  test(`D5 a store that fails to ${verb}: 503, no Set-Cookie, and the next request works`, async t => {
    const { visit, faults, cookie, read } = await startStored(t)
    const events = watch(t, 'failure')
    Object.assign(faults, { verb, error: new Error('read only replica') })
    const response = await visit(async session => change(await session.load()))
    t.match(response.json(), { ...unavailable, message: `the session store failed: ${verb}` })
    t.equal(response.headers['set-cookie'], undefined)
    t.match(events, [{ session: 'session', reason: verb, hash: /^[\w-]{43}$/ }])
    t.equal(await visit.client.cookies(), cookie)
    faults.verb = undefined
    t.strictSame(await read(), verb === 'create' ? {} : { visits: 1 })
    t.equal((await visit(async session => { (await session.load()).visits = 5 })).statusCode, 200)
    t.strictSame(await read(), { visits: 5 })
  })
}

test('D5 save() rejects when the store fails, and the response carries no cookie', async t => {
  const { visit, faults, cookie, read } = await startStored(t)
  Object.assign(faults, { verb: 'update', error: new Error('down') })
  const response = await visit(async session => {
    (await session.load()).visits = 2
    await t.rejects(session.save(), { code: 'FST_SESSIONS_STORE' })
    t.equal(session.isModified(), true)
    faults.verb = undefined
  })
  t.equal(response.statusCode, 200, 'the commit at the end tries again')
  t.strictSame(await read(), { visits: 2 })
  t.equal(await visit.client.cookies(), cookie)
})

test('D5 what is thrown that is no Error is told as such', async t => {
  const { visit, faults } = await startStored(t)
  Object.assign(faults, { verb: 'read', error: 'a string with secrets' })
  await t.rejects(visit(session => session.load()), {
    code: 'FST_SESSIONS_STORE', cause: { message: 'something that is not an Error was thrown' }
  })
})

test('D6 each call of the store ends within storeTimeout, and a late answer harms nothing', async t => {
  const clock = new TestClock()
  for (const late of ['release', 'fail'] as const) {
    const backend = gated(await memoryBackend(clock))
    const options: SessionOptions = { clock, storeTimeout: 0.01, store: { type: 'custom', backend } }
    const visit = await startVisits(t, options)
    await visit(async session => (await session.load()).set('visits', 1))
    for (const [verb, change] of [
      ['read', session => session.load()],
      ['update', async session => (await session.load()).set('visits', 2)],
      ['touch', session => session.touch()],
      ['create', session => session.regenerate()],
      ['remove', session => session.destroy()]
    ] as Array<[Verb, Parameters<typeof visit>[0]]>) {
      backend.held.add(verb)
      const visiting = visit(change)
      const held = await backend.next(verb)
      const response = await visiting.catch(error => {
        t.match(error, { code: 'FST_SESSIONS_STORE', cause: { message: 'no answer in 0.01 s' } })
      })
      if (response !== undefined) {
        t.match(response.json(), unavailable, verb)
        t.equal(response.headers['set-cookie'], undefined)
      }
      if (late === 'release') await held.release()
      else held.fail(new Error('late'))
      backend.held.clear()
      t.equal((await visit(async session => { await session.load() })).statusCode, 200, 'back again')
    }
  }
})

test('D4 a record that cannot be read is no session, is reported, and stays as it is', async t => {
  for (const value of ['', '{"v":1', '{"v":9,"data":{}}', 'null', Buffer.from([0xff, 0xfe])]) {
    const corrupting = { value: undefined as string | Uint8Array | undefined }
    const memory = counting(await memoryBackend())
    const backend: SessionBackend = {
      ...memory,
      async read (key) {
        const record = await memory.read(key)
        if (record === null || corrupting.value === undefined) return record
        return { ...record, value: corrupting.value }
      }
    }
    const visit = await startVisits(t, { store: { type: 'custom', backend } })
    await visit(async session => (await session.load()).set('visits', 1))
    const cookie = await visit.client.cookies()
    const events = watch(t, 'corrupt', 'rejected')
    corrupting.value = value

    memory.calls.length = 0
    const response = await visit(async session => {
      t.strictSame((await session.load()).data(), {})
      t.equal(session.isNew, true)
    })
    t.equal(response.statusCode, 200)
    t.equal(response.headers['set-cookie'], undefined)
    t.match(events, [{ event: 'corrupt', session: 'session', reason: 'corrupt', hash: /^[\w-]{43}$/ }])
    t.strictSame(memory.calls, ['read'])

    memory.calls.length = 0
    await visit(async session => (await session.load()).set('visits', 7))
    t.not(await visit.client.cookies(), cookie, 'a write gets an id of its own')
    t.strictSame(memory.calls, ['read', 'create'])

    corrupting.value = undefined
    const healed = await visit.app.inject({ url: '/', headers: { cookie } })
    t.equal(healed.statusCode, 200)
    const own = await visit(async session => (await session.load()).data())
    t.strictSame(own.json(), { visits: 7 })
  }
})

test("D4 onCorrupt: 'throw' makes it an error, and the cookie stays", async t => {
  const memory = await memoryBackend()
  const backend: SessionBackend = {
    ...memory,
    read: async key => {
      const record = await memory.read(key)
      return record && { ...record, value: 'secret rubbish' }
    }
  }
  const visit = await startVisits(t, { onCorrupt: 'throw', store: { type: 'custom', backend } })
  await visit(async session => (await session.load()).set('visits', 1))
  const cookie = await visit.client.cookies()
  await t.rejects(visit(session => session.load()), {
    code: 'FST_SESSIONS_CORRUPT', statusCode: 500, message: 'the stored session cannot be read'
  })
  t.equal(await visit.client.cookies(), cookie)
})

test('D7 a session that is too large is an error with the size, and nothing is stored', async t => {
  const { visit, read, memory, cookie } = await startStored(t, { maxSize: 256 })
  memory.calls.length = 0
  const fresh = await visit(async session => {
    await session.destroy()
    session.set('text', 'x'.repeat(300))
  })
  t.match(fresh.json(), { statusCode: 500, code: 'FST_SESSIONS_TOO_LARGE' })
  t.notOk(memory.calls.includes('create'))

  const again = await startStored(t, { maxSize: 256 })
  const response = await again.visit(async session => (await session.load()).set('text', 'é'.repeat(200)))
  const [, size] = /takes (\d+) bytes, more than the 256 that are allowed; see the option maxSize$/
    .exec(response.json().message)!
  t.ok(Number(size) > 400, 'bytes, not characters')
  t.equal(response.headers['set-cookie'], undefined)
  t.strictSame(await again.read(), { visits: 1 })
  t.equal(typeof cookie, 'string')
  t.strictSame(await read(), {})
})

test('D7 exactly maxSize bytes are allowed', async t => {
  const { visit, read } = await startStored(t, { maxSize: 256 })
  const write = (length: number) => visit(async session => (await session.load()).set('text', 'x'.repeat(length)))
  const tooLong = await write(300)
  const size = Number(/takes (\d+) bytes/.exec(tooLong.json().message)![1])
  const fitting = 300 - (size - 256)
  t.equal((await write(fitting + 1)).statusCode, 500)
  t.equal((await write(fitting)).statusCode, 200)
  t.equal((await read()).text.length, fitting)
})

const failures: Record<string, (request: FastifyRequest, reply: FastifyReply) => unknown> = {
  'a thrown error': () => { throw new Error('oops') },
  'a thrown 503': () => { throw Object.assign(new Error('oops'), { statusCode: 503 }) },
  'a status of 500': (_request, reply) => reply.code(500).send('oops'),
  'a 502 after a failing stream': (_request, reply) => reply.code(502).send({})
}

for (const [title, fail] of Object.entries(failures)) {
  test(`D8 ${title}: changes are dropped, destroy and rotate are done`, async t => {
    const app = await startApp(t, {}, app => {
      app.post('/set', async ({ session }) => { (await session.load()).visits = 1 })
      app.get('/', async ({ session }) => ({ data: (await session.load()).data(), principal: session.principal }))
      app.post('/change', async (request, reply) => {
        const session = await request.session.load()
        session.visits = 2
        session.cart = ['pear']
        return fail(request, reply)
      })
      app.post('/login', async (request, reply) => {
        await request.session.login('ada')
        request.session.visits = 3
        return fail(request, reply)
      })
      app.post('/logout', async (request, reply) => {
        await request.session.logout()
        return fail(request, reply)
      })
    })
    const client = createClient(app)
    const post = async (url: string) => (await client.inject({ method: 'POST', url })).statusCode
    const get = async () => (await client.inject('/')).json()

    t.ok(await post('/change') >= 500)
    t.equal(await client.cookies(), '', 'no session is made')

    await post('/set')
    const first = await client.cookies()
    t.ok(await post('/change') >= 500)
    t.equal(await client.cookies(), first)
    t.strictSame(await get(), { data: { visits: 1 }, principal: null })

    t.ok(await post('/login') >= 500)
    t.not(await client.cookies(), first)
    t.strictSame(await get(), { data: { visits: 1 }, principal: null })
    const replayed = await app.inject({ url: '/', headers: { cookie: first } })
    t.strictSame(replayed.json().data, {})

    const second = await client.cookies()
    t.ok(await post('/logout') >= 500)
    t.equal(await client.cookies(), '')
    t.strictSame((await app.inject({ url: '/', headers: { cookie: second } })).json().data, {})
  })
}

test('D8 what ends below 500 is kept, whatever was thrown on the way', async t => {
  const app = await startApp(t, {}, app => {
    app.setErrorHandler(async (error: Error & { statusCode?: number }, _request, reply) => {
      if (error.message === 'becomes 500') return reply.code(500).send('changed to a server error')
      return reply.code(error.statusCode ?? 400).send('changed to a client error')
    })
    app.get('/', async ({ session }) => (await session.load()).data())
    app.post('/:message', async ({ session, params }) => {
      await session.load()
      session.update('visits', (n = 0) => n + 1)
      throw Object.assign(new Error((params as { message: string }).message), { statusCode: 422 })
    })
    app.post('/plain', async ({ session }) => {
      await session.load()
      session.update('visits', (n = 0) => n + 1)
      throw new Error('without a status')
    })
  })
  const client = createClient(app)
  for (const [url, status, visits] of [
    ['/stays', 422, 1], ['/plain', 400, 2], ['/becomes%20500', 500, 2]
  ] as const) {
    t.equal((await client.inject({ method: 'POST', url })).statusCode, status)
    t.strictSame((await client.inject('/')).json(), { visits })
  }
})

test('D9 the response leaves after the commit', async t => {
  const backend = gated(await memoryBackend())
  for (const [title, reply] of Object.entries({
    'a redirect': (reply: FastifyReply) => reply.redirect('/elsewhere'),
    'a body': (reply: FastifyReply) => reply.send('done'),
    204: (reply: FastifyReply) => reply.code(204).send()
  })) {
    const app = await startApp(t, { store: { type: 'custom', backend } }, app => {
      app.get('/', async (request, response) => {
        (await request.session.load()).visits = 1
        return reply(response)
      })
    })
    backend.held.add('create')
    let answered = false
    const answering = app.inject('/').then(response => {
      answered = true
      return response
    })
    const held = await backend.next('create')
    for (let i = 0; i < 10; i++) await new Promise(setImmediate)
    t.equal(answered, false, title)
    await held.release()
    t.ok((await answering).headers['set-cookie'], title)
    backend.held.clear()
  }
})

test('D10 a handler that does not return reply.send(): one commit, no crash', async t => {
  const log = capture()
  const backend = gated(counting(await memoryBackend()))
  const late: unknown[] = []
  const app = await startApp(t, { store: { type: 'custom', backend } }, app => {
    app.get('/', async (request, reply) => {
      const session = await request.session.load()
      session.visits = 1
      reply.send('sent')
    })
    app.get('/late', async (request, reply) => {
      const session = await request.session.load()
      session.visits = 2
      reply.send('sent')
      try {
        session.visits = 3
      } catch (error) {
        late.push(error)
      }
      await new Promise(setImmediate)
      session.visits = 4
    })
    app.get('/twice', async (request, reply) => {
      const session = await request.session.load()
      session.visits = 5
      reply.send('first')
      reply.send('second')
      return 'third'
    })
  }, { logger: { level: 'warn', stream: log.stream } })
  for (const [url, body] of [['/', 'sent'], ['/late', 'sent'], ['/twice', 'first']]) {
    const client = createClient(app)
    const calls = (backend as unknown as { calls: string[] }).calls
    calls.length = 0
    const response = await client.inject(url)
    t.equal(response.statusCode, 200)
    t.equal(response.body, body)
    t.equal([response.headers['set-cookie']].flat().length, 1)
    t.strictSame(calls, ['create'], url)
    await new Promise(setImmediate)
  }
  t.match(late, [{ code: 'FST_SESSIONS_HEADERS_SENT', message: /^the session was changed after the response/ }])
  t.match(log.text(), /FST_SESSIONS_HEADERS_SENT/)
})

test('nothing secret is in any error, response or log line', async t => {
  const secret = 'the-signing-secret-of-32-or-more-bytes'
  const log = capture()
  const seen = { keys: [] as string[], values: [] as string[] }
  const memory = await memoryBackend()
  let failing: string | undefined
  const note = (key: string, value?: string | Uint8Array) => {
    seen.keys.push(key)
    if (value !== undefined) seen.values.push(String(value))
  }
  // As drivers do: the command and its arguments on the error, the key in its text.
  const call = async <T>(verb: string, key: string, args: unknown[], run: () => Promise<T>): Promise<T> => {
    if (verb !== failing) return run()
    throw Object.assign(new Error(`${verb} session:${key} failed`), { code: 'EDRIVER', command: { verb, args }, key })
  }
  const backend: SessionBackend = {
    read: key => call('read', key, [key], () => memory.read(key)),
    create (key, record, index) {
      note(key, record.value)
      return call('create', key, [record, index], () => memory.create(key, record, index))
    },
    update (key, record, index, ifVersion) {
      note(key, record.value)
      return call('update', key, [record, index], () => memory.update(key, record, index, ifVersion))
    },
    touch: (key, expiresAt) => call('touch', key, [], () => memory.touch(key, expiresAt)),
    remove: (key, ifVersion) => call('remove', key, [], () => memory.remove(key, ifVersion)),
    async sweep () { throw new Error('not now') }
  }
  const bodies: string[] = []
  const app = await startApp(t, { secret, store: { type: 'custom', backend }, maxSize: 512 }, app => {
    app.post('/set', async request => {
      request.log.info({ session: inspect(request.session) }, 'seen')
      const session = await request.session.load()
      session.set('card', 'data-4111')
      request.log.trace({ handle: session.id }, 'a handle is no secret')
    })
    app.post('/too-early', async ({ session }) => session.set('card', 'data-4111'))
    app.post('/update', async ({ session }) => (await session.load()).set('at', ['data-4111', performance.now()]))
    app.post('/login', async ({ session }) => session.login('principal-ada'))
    app.post('/touch', async ({ session }) => session.touch())
    app.post('/large', async ({ session }) => (await session.load()).set('text', 'data-4111'.repeat(99)))
    app.post('/uncarriable', async ({ session }) => (await session.load()).set('x', { deep: ['data-4111', 1n] }))
    app.post('/reserved', async ({ session }) => Object.assign(await session.load(), { id: 'data-4111' }))
    app.post('/logout', async ({ session }) => session.logout())
  }, { logger: { level: 'trace', stream: log.stream } })

  const client = createClient(app)
  const tokens: string[] = []
  const post = async (url: string) => {
    const response = await client.inject({ method: 'POST', url })
    bodies.push(response.body)
    tokens.push((await client.cookies()).replace(/^[^=]*=/, ''))
    return response.statusCode
  }
  t.equal(await post('/too-early'), 500)
  t.equal(await post('/set'), 200)
  for (const verb of ['create', 'read', 'update', 'touch', 'remove'] as const) {
    failing = verb
    const routes = { create: '/login', read: '/set', update: '/update', touch: '/touch', remove: '/logout' }
    t.equal(await post(routes[verb]), 503)
    failing = undefined
    t.equal(await post('/login'), 200)
  }
  for (const url of ['/large', '/uncarriable', '/reserved', '/unknown', '/login', '/logout']) await post(url)

  // Hashes stand in one place only, where they name the session that something happened to.
  const text = log.text().replace(/"hash":"[\w-]{43}"/g, '') + bodies.join('\n')
  t.match(text, /update session:\[key\] failed/, 'the driver is heard')
  const ids = tokens.flatMap(token => [token, ...token.split('.')]).filter(token => token !== '')
  t.ok(ids.length > 5 && seen.keys.length > 2)
  for (const hidden of [secret, 'data-4111', 'principal-ada', ...ids, ...seen.keys, ...seen.values]) {
    t.notOk(text.includes(hidden), `${hidden} stays inside`)
  }
})

test('an error of ours is told from a driver’s', async t => {
  t.equal(isSessionsError(new StoreError('read')), true)
  t.equal(isSessionsError(new OptionError('x')), true)
  t.equal(isSessionsError(new Error('x')), false)
  t.equal(isSessionsError(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })), false)
  t.equal(isSessionsError({ code: 'FST_SESSIONS_STORE' }), false)
})

test('the cause of a store failure is what the driver said, without what it attached', async t => {
  class DriverError extends Error {
    override name = 'DriverError'
    code = 'E1'
    parameters = ['secret']
  }
  const error = new DriverError('no KEY here, KEY there')
  const cause = driverCause(error, 'KEY')
  t.equal(cause.message, 'no [key] here, [key] there')
  t.equal(cause.name, 'DriverError')
  t.notMatch(cause.stack, /KEY/)
  t.match(cause.stack, /^DriverError: no \[key\] here, \[key\] there\n {4}at .*errors\.test/)
  delete error.stack
  t.equal(driverCause(error).stack, 'DriverError: no KEY here, KEY there')
  t.strictSame(Object.keys(cause).sort(), ['code', 'name'])
  for (const [said, kept] of [
    ['dup key: { _id: "KEY", value: "secret" }', 'dup key: ...'],
    ['no such command\nSET a secret', 'no such command...'],
    ['bad row\r\n    at secret (file:1:1)', 'bad row...'],
    ['x'.repeat(200), 'x'.repeat(200)],
    ['x'.repeat(300), 'x'.repeat(200) + '...']
  ] as const) {
    const { message, stack } = driverCause(new Error(said), 'KEY')
    t.equal(message, kept)
    t.notMatch(stack, /KEY|_id|secret|x{201}/)
  }
  t.equal(driverCause(new Error('text')).message, 'text')
  const refused = new AggregateError([new Error('refused at ::1'), new Error('refused at 127.0.0.1')])
  t.equal(driverCause(refused).message, 'refused at ::1; refused at 127.0.0.1')
  t.notOk('code' in driverCause(new Error('text')))
  t.equal(driverCause(null).message, 'something that is not an Error was thrown')
})

/** Where pino writes to. */
function capture () {
  const lines: string[] = []
  const stream = new Writable({
    write (chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    }
  })
  return { stream, text: () => lines.join('') }
}
