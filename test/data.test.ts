import type { Session, SessionData, SessionMembers } from '../lib/index.js'
import { inspect } from 'node:util'
import { test } from 'tap'
import { jsonCodec } from '../lib/records/codec.js'
import { TestClock } from '../lib/testing/clock.js'
import { counting, memoryBackend } from './helpers/backends.js'
import { startVisits } from './helpers/visits.js'

type Loose = Record<PropertyKey, unknown>

/** A session with a few of its properties untyped. */
const loose = (session: Session) => session as unknown as Loose

const notLoaded = (use: string) => ({
  code: 'FST_SESSIONS_NOT_LOADED',
  message: `the session was not loaded before '${use}' was used; ` +
    "call await request.session.load() first, or set load: 'eager'"
})

const getters = ['id', 'sessionId', 'isNew', 'createdAt', 'expiresAt', 'authenticatedAt', 'principal'] as const

const synchronous: Record<string, (session: Session) => unknown> = {
  get: session => session.get('cart'),
  set: session => session.set('cart', []),
  has: session => session.has('cart'),
  delete: session => session.delete('cart'),
  clear: session => session.clear(),
  keys: session => session.keys(),
  data: session => session.data(),
  toJSON: session => JSON.stringify(session),
  update: session => session.update('visits', () => 1),
  isModified: session => session.isModified(),
  isSaved: session => session.isSaved(),
  ...Object.fromEntries(getters.map(name => [name, (session: Session) => session[name]]))
}

const verbs: Record<string, (session: Session) => Promise<unknown>> = {
  regenerate: session => session.regenerate(),
  login: session => session.login('ada'),
  remember: session => session.remember(60),
  destroy: session => session.destroy(),
  logout: session => session.logout(),
  touch: session => session.touch(),
  reload: session => session.reload(),
  save: session => session.save()
}

test('P2 before load(), data are refused with a cookie or without one', async t => {
  const visit = await startVisits(t)
  for (const round of ['without a cookie', 'with a cookie']) {
    await visit(session => {
      for (const [use, run] of Object.entries(synchronous)) {
        t.throws(() => run(session), notLoaded(use === 'sessionId' ? 'id' : use), `${use} ${round}`)
      }
      t.throws(() => session.cart, notLoaded('cart'))
      t.throws(() => { session.cart = [] }, notLoaded('cart'))
      t.throws(() => delete session.cart, notLoaded('cart'))
      t.throws(() => 'cart' in session, notLoaded('cart'))
      t.throws(() => Object.hasOwn(session, 'cart'), notLoaded('cart'))
      t.throws(() => Object.defineProperty(session, 'cart', { value: [] }), notLoaded('cart'))
      t.throws(() => Object.keys(session), notLoaded('keys'))
      t.throws(() => ({ ...session }), notLoaded('keys'))
    })
    await visit(async session => (await session.load()).set('visits', 1))
  }
})

test('P2 a forgotten await shows with the first request, also where the store answers at once', async t => {
  const { cookie, file, memory } = {
    cookie: { store: { type: 'cookie' as const }, secret: 'x'.repeat(32) },
    file: { store: { type: 'file' as const, directory: t.testdir() } },
    memory: { store: { type: 'memory' as const } }
  }
  for (const options of [cookie, file, memory]) {
    const visit = await startVisits(t, options)
    for (const round of ['without a cookie', 'with a cookie']) {
      await visit(async session => {
        const loading = session.load()
        t.throws(() => session.cart, notLoaded('cart'), `${options.store.type} ${round}`)
        await loading
        session.cart = [...session.cart ?? [], round]
      })
    }
    await visit(async session => t.strictSame((await session.load()).cart, ['without a cookie', 'with a cookie']))
  }
})

test('P2 before load(), what others ask of any object is answered', async t => {
  const visit = await startVisits(t)
  await visit(async session => (await session.load()).set('visits', 1))
  await visit(async (session, request) => {
    t.equal(await session, session, 'it can be awaited')
    t.equal(request.session, session, 'it is one and the same')
    t.equal(inspect(session), 'Session { not loaded }')
    t.equal(Object.getPrototypeOf(session), null)
    t.equal(loose(session)[Symbol.toStringTag], undefined)
    t.equal(Symbol.iterator in session, false)
    t.equal(Object.getOwnPropertyDescriptor(session, Symbol.iterator), undefined)
    t.throws(session.get, notLoaded('get'), 'verbs need no receiver')
    t.equal(await session.load(), session)
    t.equal(session.get('visits'), 1)
  })
})

for (const [verb, run] of Object.entries(verbs)) {
  test(`P7 ${verb}() loads the session itself`, async t => {
    const visit = await startVisits(t)
    await visit(async session => (await session.load()).set('visits', 1))
    await visit(async session => {
      t.equal(await run(session), undefined)
      if (verb === 'save') t.throws(() => session.keys(), notLoaded('keys'), 'there is nothing to save')
      else t.strictSame(session.keys(), ['destroy', 'logout'].includes(verb) ? [] : ['visits'])
    })
  })
}

test('P2 P3 fields are read, written and deleted as properties and by get() and set()', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    t.equal(session.cart, undefined)
    t.equal(session.get('cart'), undefined)
    t.equal(session.has('cart'), false)
    t.equal(session.delete('cart'), false)
    session.cart = ['pear']
    session.set('visits', 1)
    t.equal(Reflect.set(session, 'color', 'red'), true)
    t.equal(Object.defineProperty(session, 'size', { value: 3 }), session)
  })
  const all = { cart: ['pear'], visits: 1, color: 'red', size: 3 }
  await visit(async session => {
    await session.load()
    t.strictSame(session.cart, ['pear'])
    t.equal(session.get('cart'), session.cart)
    t.equal('cart' in session, true)
    t.equal('toString' in session, false)
    t.equal('get' in session, false)
    t.equal(session.has('visits'), true)
    t.strictSame(Object.keys(session), Object.keys(all))
    t.strictSame(Reflect.ownKeys(session), Object.keys(all))
    t.strictSame(session.keys(), Object.keys(all))
    t.strictSame({ ...session }, all)
    t.strictSame(Object.entries(session), Object.entries(all))
    t.equal(JSON.stringify(session), JSON.stringify(all))
    t.strictSame(session.toJSON(), all)
    t.strictSame(Object.getOwnPropertyDescriptor(session, 'visits'),
      { value: 1, writable: true, enumerable: true, configurable: true })
    t.equal(Object.getOwnPropertyDescriptor(session, 'absent'), undefined)
    const seen: string[] = []
    for (const key in session) seen.push(key)
    t.strictSame(seen, Object.keys(all))

    t.equal(delete session.cart, true)
    t.equal(session.delete('visits'), true)
    session.set('color', undefined)
    loose(session).size = undefined
    t.strictSame(session.keys(), [])
  })
  await visit(async session => t.strictSame((await session.load()).data(), {}))
})

test('P2 clear() deletes all keys', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    session.cart = []
    session.visits = 1
  })
  await visit(async session => {
    await session.load()
    session.clear()
    t.strictSame(session.keys(), [])
    session.set('visits', 2)
  })
  await visit(async session => t.strictSame((await session.load()).data(), { visits: 2 }))
})

test('P4 data() is a copy that shares nothing with the session', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    session.cart = ['pear']
    session.data().cart!.push('apple')
    delete session.data().cart
    t.strictSame(session.cart, ['pear'])
    session.set('when', new Date(0))
    session.set('own', { inner: 1, toJSON: () => 'shown' })
    t.strictSame(session.data(), { cart: ['pear'], when: '1970-01-01T00:00:00.000Z', own: 'shown' })
  })
  await visit(async session => t.strictSame((await session.load()).keys(), ['cart', 'when', 'own']))
})

test('P2 a session that a handler returns is its data', async t => {
  const visit = await startVisits(t)
  const response = await visit(async session => {
    await session.load()
    session.visits = 1
    return session
  })
  t.equal(response.body, '{"visits":1}')
})

test('P2 what cannot be done to a session', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    t.throws(() => { loose(session)[Symbol('s')] = 1 }, { message: 'a session takes no symbols as keys' })
    t.throws(() => delete loose(session)[Symbol('s')], { message: 'a session takes no symbols as keys' })
    t.throws(() => Object.defineProperty(session, 'x', { get: () => 1 }), TypeError)
    t.throws(() => Object.setPrototypeOf(session, {}), TypeError)
    t.throws(() => Object.freeze(session), TypeError)
    t.throws(() => Object.preventExtensions(session), TypeError)
    t.strictSame(session.keys(), [])
    t.equal(session.isModified(), false)
  })
})

test('H8 a field may have a reserved name, and is reached with get(), set() and delete()', async t => {
  const visit = await startVisits(t)
  const members: Array<keyof SessionMembers> = [
    'load', 'get', 'set', 'has', 'delete', 'clear', 'keys', 'data', 'toJSON', 'update', 'regenerate', 'login', 'remember',
    'destroy', 'logout', 'touch', 'reload', 'save', 'options', 'isModified', 'isSaved', ...getters
  ]
  const reserved = (key: string) => ({
    code: 'FST_SESSIONS_RESERVED_NAME',
    message: `'${key}' is a name of the session itself; ` +
      'use session.get(), set() and delete() for a value of that name'
  })
  await visit(async session => {
    await session.load()
    for (const key of members) {
      const before = typeof loose(session)[key]
      session.set(key, key as never)
      t.equal(session.get(key), key)
      t.equal(session.has(key), true)
      t.equal(typeof loose(session)[key], before, `${key} is the session's own`)
      t.throws(() => { loose(session)[key] = 1 }, reserved(key))
      t.throws(() => Object.defineProperty(session, key, { value: 1 }), reserved(key))
      t.throws(() => delete loose(session)[key], reserved(key))
      t.equal(key in session, false)
      t.equal(Object.getOwnPropertyDescriptor(session, key), undefined)
    }
    session.visits = 1
    t.strictSame(Object.keys(session), ['visits'])
    t.strictSame(Reflect.ownKeys(session), ['visits'])
    t.strictSame({ ...session }, { visits: 1 })
  })
  await visit(async session => {
    await session.load()
    const all = { ...Object.fromEntries(members.map(key => [key, key])), visits: 1 }
    t.strictSame(session.data(), all)
    t.equal(JSON.stringify(session), JSON.stringify(all))
    for (const key of members) t.equal(session.delete(key), true)
    t.strictSame(session.keys(), ['visits'])
  })
})

test('H8 a field named then does not make the session awaitable', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    loose(session).then = 'later'
    t.equal(await session, session)
    t.equal(await session.load(), session)
    t.throws(() => session.set('then', () => {}), { code: 'FST_SESSIONS_VALUE' })
  })
  await visit(async session => {
    t.equal(loose(session).then, undefined)
    await session.load()
    t.equal(loose(session).then, 'later')
    t.equal('then' in session, true)
    t.strictSame(Object.keys(session), ['then'])
  })
})

test('D1 __proto__ and constructor are keys like any other', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    for (const key of ['__proto__', 'constructor', 'hasOwnProperty', 'valueOf']) {
      t.equal(loose(session)[key], undefined)
      t.equal(session.get(key), undefined)
      t.equal(session.has(key), false)
      t.equal(key in session, false)
    }
    // eslint-disable-next-line no-proto -- what an attacker would write
    loose(session)['__proto__'] = { polluted: 1 }
    session.set('constructor', { prototype: { polluted: 2 } })
    session.set('nested', JSON.parse('{ "__proto__": { "polluted": 3 } }'))
  })
  await visit(async session => {
    await session.load()
    t.strictSame(session.keys(), ['__proto__', 'constructor', 'nested'])
    t.strictSame(session.get('__proto__'), { polluted: 1 })
    t.strictSame(session.get('constructor'), { prototype: { polluted: 2 } })
    t.equal(JSON.stringify(session.get('nested')), '{"__proto__":{"polluted":3}}')
    t.equal(session.get('polluted'), undefined)
    t.equal(JSON.stringify(session.data()), JSON.stringify(session))
    t.equal(({} as Loose).polluted, undefined)
    t.equal(Object.getPrototypeOf(session), null)
  })
})

test('D2 what JSON cannot carry is refused, with the path to it', async t => {
  const circular: Loose = { a: {} }
  ;(circular.a as Loose).back = circular
  const wrong: Array<[value: unknown, problem: string]> = [
    [() => {}, 'x: it is a function'],
    [class {}, 'x: it is a function'],
    [Symbol('s'), 'x: it is a symbol'],
    [1n, 'x: it is a bigint'],
    [NaN, 'x: it is not a finite number'],
    [-Infinity, 'x: it is not a finite number'],
    [circular, 'x.a.back: it is circular'],
    [[[circular]], 'x[0][0].a.back: it is circular'],
    [{ list: [1, { fn () {} }] }, 'x.list[1].fn: it is a function'],
    [new Map(), 'x: it is of the kind Map'],
    [{ set: new Set() }, 'x.set: it is of the kind Set'],
    [new Uint8Array(1), 'x: it is of the kind Uint8Array'],
    [new ArrayBuffer(1), 'x: it is of the kind ArrayBuffer'],
    [Promise.resolve(1), 'x: it is of the kind Promise'],
    [new Array(10_000_001), 'x: it is an array of more than 10000000 items'],
    [/x/, 'x: it is of the kind RegExp'],
    [new Error('x'), 'x: it is of the kind Error'],
    [{ own: { toJSON: () => [1n] } }, 'x.own[0]: it is a bigint']
  ]
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    for (const [value, problem] of wrong) {
      const error = { code: 'FST_SESSIONS_VALUE', message: `the session cannot carry ${problem}` }
      t.throws(() => session.set('x', value), error)
      t.throws(() => { loose(session).x = value }, error)
      t.throws(() => session.update('x', () => value), { code: 'FST_SESSIONS_VALUE' })
    }
    t.strictSame(session.keys(), [])
    t.equal(session.isModified(), false)
  })
})

test('D2 what JSON carries is carried', async t => {
  const shared = { a: 1 }
  class Point { x = 1 }
  const values: Array<[value: unknown, carried: unknown]> = [
    ['', ''], [0, 0], [false, false], [null, null], ['\u0000ü\ud83d\ude00', '\u0000ü\ud83d\ude00'],
    [[], []], [{}, {}], [[shared, shared], [shared, shared]],
    [{ a: undefined, b: 1 }, { b: 1 }],
    [new Date(0), '1970-01-01T00:00:00.000Z'],
    [new Point(), { x: 1 }],
    [Object.create(null), {}],
    [Buffer.from('a'), { type: 'Buffer', data: [97] }]
  ]
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    values.forEach(([value], i) => session.set(`k${i}`, value))
  })
  await visit(async session => {
    await session.load()
    values.forEach(([, carried], i) => t.strictSame(session.get(`k${i}`), carried))
  })
})

test('D2 an object that becomes uncarriable after set() is met at commit, and nothing is stored', async t => {
  const backend = counting(await memoryBackend())
  const visit = await startVisits(t, { store: { type: 'custom', backend } })
  for (const [spoil, problem] of [
    [(cart: unknown[]) => cart.push(1n), 'cart[0]: it is a bigint'],
    [(cart: unknown[]) => cart.push(cart), 'cart[0]: it is circular'],
    [(cart: unknown[]) => cart.push({ fn () {} }), 'cart[0].fn: it is a function']
  ] as const) {
    const response = await visit(async session => {
      await session.load()
      session.cart = []
      spoil(session.cart)
    })
    t.equal(response.statusCode, 500)
    t.equal(response.json().message, `the session cannot carry ${problem}`)
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.strictSame(backend.calls, [])
})

test('D2 the codec reads what it wrote, and nothing else', async t => {
  const draft = {
    data: { a: [1] },
    createdAt: 1,
    authenticatedAt: null,
    expiresAt: 9,
    principal: 'ada',
    rememberedUntil: null,
    boundTo: null
  }
  const { expiresAt, ...facts } = draft
  const content = { ...facts, client: undefined, renewal: undefined }
  t.equal(expiresAt, 9, 'kept beside the value')
  t.strictSame(jsonCodec.decode(jsonCodec.encode(draft)), content)
  t.strictSame(jsonCodec.decode(Buffer.from(jsonCodec.encode(draft))), content)
  const instants = { authenticatedAt: 2, rememberedUntil: 3, principal: null, boundTo: 'handle' }
  t.strictSame(jsonCodec.decode(jsonCodec.encode({ ...draft, ...instants })), { ...content, ...instants })

  const record = JSON.parse(jsonCodec.encode(draft))
  for (const wrong of [
    '', '{', 'null', '[]', '1', '{}',
    ...[{ v: 2 }, { v: undefined }, { data: null }, { data: [] }, { data: 'x' }, { createdAt: null }, { createdAt: '1' },
      { authenticatedAt: '1' }, { rememberedUntil: {} }, { principal: 1 }, { boundTo: 1 }
    ].map(change => JSON.stringify({ ...record, ...change }))
  ]) t.equal(jsonCodec.decode(wrong), null, wrong)
  t.strictSame(Object.keys(record), ['v', 'createdAt', 'principal', 'data'], 'what a session has not is not stored')
  const nothing = { authenticatedAt: null, rememberedUntil: null, boundTo: null }
  t.strictSame(jsonCodec.decode(JSON.stringify({ ...record, ...nothing })), content, 'nor missed')
  const client = { ip: '::1', userAgent: '' }
  t.strictSame(jsonCodec.decode(jsonCodec.encode({ ...draft, client })), { ...content, client })
  for (const wrong of [null, 'x', {}, { ip: '::1' }, { ip: 1, userAgent: '' }]) {
    t.strictSame(jsonCodec.decode(JSON.stringify({ ...record, client: wrong })), content)
  }
  t.equal(jsonCodec.assertCarriable(undefined, 'x'), undefined)
})

test('D16 what is stored is never shared with what a request holds', async t => {
  const visit = await startVisits(t)
  const kept: string[][] = []
  await visit(async session => {
    await session.load()
    session.cart = ['pear']
    kept.push(session.cart)
  })
  kept[0].push('late')
  await visit(async session => {
    await session.load()
    t.strictSame(session.cart, ['pear'])
    kept.push(session.cart!)
  })
  kept[1].push('later')
  await visit(async session => t.strictSame((await session.load()).cart, ['pear']))
})

test('L13 setting an equal value is not a change', async t => {
  const backend = counting(await memoryBackend())
  const visit = await startVisits(t, { store: { type: 'custom', backend } })
  const write = (session: Session) => {
    session.cart = ['pear']
    session.visits = 0
    session.set('empty', '')
    session.set('nothing', null)
  }
  await visit(async session => write(await session.load()))
  backend.calls.length = 0
  const response = await visit(async session => {
    await session.load()
    write(session)
    session.update('visits', n => n)
    session.delete('absent')
    session.set('fresh', 1)
    session.delete('fresh')
    session.cart!.push('apple')
    session.cart!.pop()
    t.equal(session.isModified(), false)
    t.equal(session.isSaved(), true)
  })
  t.strictSame(backend.calls, ['read'])
  t.equal(response.headers['set-cookie'], undefined)
})

test('L14 changes inside an object are changes', async t => {
  const visit = await startVisits(t)
  const set = (value: unknown) => visit(async session => (await session.load()).set('deep', value))
  for (const [change, expected] of [
    [deep => { deep.list.push(3) }, { list: [1, 2, 3], inner: { a: 1 } }],
    [deep => { deep.list.length = 1 }, { list: [1], inner: { a: 1 } }],
    [deep => { deep.inner.b = 2 }, { list: [1, 2], inner: { a: 1, b: 2 } }],
    [deep => { delete (deep.inner as Partial<typeof deep.inner>).a }, { list: [1, 2], inner: {} }],
    [deep => { deep.list.reverse() }, { list: [2, 1], inner: { a: 1 } }]
  ] as Array<[(deep: { list: number[], inner: { a: number, b?: number } }) => void, object]>) {
    await set({ list: [1, 2], inner: { a: 1 } })
    await visit(async session => {
      await session.load()
      change(session.get('deep') as never)
      t.equal(session.isModified(), true)
    })
    await visit(async session => t.strictSame((await session.load()).get('deep'), expected))
  }
  await visit(async session => {
    await session.load()
    for (const value of Object.values(session)) (value as unknown as Loose).seen = 'through Object.values'
  })
  await visit(async session => {
    const { seen } = (await session.load()).get('deep') as Loose
    t.equal(seen, 'through Object.values')
  })
})

test('L14 another order of keys is a change: what was seen last may stand last', async t => {
  const visit = await startVisits(t)
  await visit(async session => (await session.load()).set('seen', { pear: 1, apple: 1 }))
  await visit(async session => {
    const seen = (await session.load()).get('seen') as Loose
    delete seen.pear
    seen.pear = 1
  })
  await visit(async session => {
    t.strictSame(Object.keys((await session.load()).get('seen') as Loose), ['apple', 'pear'])
  })
})

test('L16 reload() drops what this request has changed', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    session.visits = 1
    await session.reload()
    t.strictSame(session.data(), {}, 'of a new session as well')
    session.visits = 2
  })
  const cookie = await visit.client.cookies()
  await visit(async session => {
    await session.load()
    session.visits = 3
    session.cart = []
    await session.regenerate([])
    await session.login('ada')
    await session.remember()
    await session.reload()
    t.strictSame(session.data(), { visits: 2 })
    t.equal(session.principal, null)
    t.equal(session.isModified(), false)
  })
  await visit(async session => {
    await session.destroy()
    await session.reload()
    t.strictSame(session.data(), { visits: 2 })
  })
  t.equal(await visit.client.cookies(), cookie)
  await visit(async session => t.strictSame((await session.load()).data(), { visits: 2 }))
})

test('L16 reload() shows what others have stored, and keeps what was saved', async t => {
  const visit = await startVisits(t)
  await visit(async session => (await session.load()).set('visits', 1))
  await visit(async session => {
    await session.load()
    session.visits = 2
    await session.save()
    await visit(async other => { (await other.load()).cart = ['pear'] })
    session.visits = 3
    await session.reload()
    t.strictSame(session.data(), { visits: 2, cart: ['pear'] })
    session.update('visits', (n = 0) => n + 10)
  })
  await visit(async session => t.strictSame((await session.load()).data(), { visits: 12, cart: ['pear'] }))
})

test('P5 regenerate() keeps all data, or the keys named', async t => {
  const visit = await startVisits(t)
  const fill = async (session: Session) => {
    await session.load()
    session.cart = ['pear']
    session.visits = 1
    session.set('get', 'reserved')
  }
  const all: Partial<SessionData> & Loose = { cart: ['pear'], visits: 1, get: 'reserved' }
  for (const [keys, kept] of [
    [undefined, all],
    [[], {}],
    [['visits'], { visits: 1 }],
    [['visits', 'visits', 'unknown', 'save'], { visits: 1 }],
    [['get'], { get: 'reserved' }]
  ] as Array<[keys: string[] | undefined, kept: object]>) {
    await visit(fill)
    const before = await visit.client.cookies()
    await visit(async session => {
      await session.load()
      const { cart } = session
      t.equal(await session.regenerate(keys), undefined)
      t.strictSame(session.data(), kept)
      if ('cart' in kept) t.equal(session.cart, cart, 'references stay valid')
      t.equal(session.isModified(), true)
    })
    const after = await visit.client.cookies()
    t.not(after, '')
    t.not(after, before)
    const read = await visit(async session => (await session.load()).data())
    t.strictSame(read.json(), kept)
    const old = await visit.app.inject({ url: '/', headers: { cookie: before } })
    t.strictSame(old.json(), {}, 'the old id is dead')
  }
})

test('P5 regenerate() of a session that was never saved', async t => {
  const visit = await startVisits(t)
  const empty = await visit(session => session.regenerate())
  t.equal(empty.headers['set-cookie'], undefined)
  await visit(async session => {
    await session.load()
    session.visits = 1
    session.cart = []
    await session.regenerate(['visits'])
  })
  await visit(async session => t.strictSame((await session.load()).data(), { visits: 1 }))
})

const byCallback: Record<string, (session: Session, done: (error: Error | null) => void) => void> = {
  regenerate: (session, done) => session.regenerate(done),
  'regenerate with keys': (session, done) => session.regenerate(['visits'], done),
  destroy: (session, done) => session.destroy(done),
  logout: (session, done) => session.logout(done),
  touch: (session, done) => session.touch(done),
  reload: (session, done) => session.reload(done),
  save: (session, done) => session.save(done)
}

for (const [verb, run] of Object.entries(byCallback)) {
  test(`P5 P7 ${verb} with a callback`, async t => {
    const clock = new TestClock()
    const store = await memoryBackend(clock)
    let failure: Error | null = null
    const backend = {
      ...store,
      read: (key: string) => failure === null ? store.read(key) : Promise.reject(failure),
      update: (...args: Parameters<typeof store.update>) => {
        return failure === null ? store.update(...args) : Promise.reject(failure)
      }
    }
    const visit = await startVisits(t, { clock, store: { type: 'custom', backend } })
    const call = (session: Session) => {
      return new Promise<Error | null>(resolve => t.equal(run(session, resolve), undefined))
    }
    await visit(async session => (await session.load()).set('visits', 1))
    await visit(async session => t.equal(await call(await session.load()), null))

    await visit(async session => (await session.load()).set('visits', 2))
    const response = await visit(async session => {
      if (verb === 'save') (await session.load()).set('visits', 3)
      failure = new Error('down')
      t.match(await call(session), { code: 'FST_SESSIONS_STORE' })
      failure = null
    })
    t.equal(response.statusCode, 200)
  })
}

test('P7 what a session tells of itself', async t => {
  const clock = new TestClock()
  const visit = await startVisits(t, { clock, idleTimeout: 60, absoluteTimeout: 90 })
  const start = clock.now()
  const about = (session: Session) => {
    const { isNew, createdAt, expiresAt, authenticatedAt, principal } = session
    return [isNew, session.isModified(), session.isSaved(), createdAt, expiresAt, authenticatedAt, principal]
  }
  let id: string | null = null
  await visit(async session => {
    await session.load()
    t.strictSame(about(session), [true, false, false, null, null, null, null])
    t.equal(session.id, null)
    session.visits = 1
    t.strictSame(about(session), [true, true, false, null, null, null, null])
    await session.save()
    t.strictSame(about(session), [false, false, true, start, start + 60_000, null, null])
    id = session.id
    t.match(id, /^[A-Za-z0-9_-]{43}$/)
    t.equal(session.sessionId, id)
  })
  t.notMatch(await visit.client.cookies(), String(id), 'the cookie carries something else')

  clock.advance(10)
  await visit(async session => {
    await session.load()
    t.equal(session.id, id)
    await session.login('ada')
    t.strictSame(about(session), [false, true, false, start + 10_000, start + 60_000, start + 10_000, 'ada'])
    t.equal(inspect(session), "Session { keys: [ 'visits' ] }")
    t.notMatch(inspect(session, { showProxy: true, showHidden: true, depth: 9 }), /ada|value/)
    await session.save()
    t.not(session.id, id)
    t.strictSame(about(session), [false, false, true, start + 10_000, start + 70_000, start + 10_000, 'ada'])
  })
  clock.advance(10)
  await visit(async session => {
    await session.load()
    t.strictSame(about(session), [false, false, true, start + 10_000, start + 70_000, start + 10_000, 'ada'])
    await session.destroy()
    t.strictSame(about(session), [true, true, false, null, null, null, null])
    await session.save()
    t.strictSame(about(session), [true, false, false, null, null, null, null])
  })
  t.equal(await visit.client.cookies(), '')
})

test('P7 what login() and remember() take', async t => {
  const visit = await startVisits(t)
  await visit(async session => {
    await session.load()
    for (const principal of ['', undefined, null, 7, {}]) {
      await t.rejects(session.login(principal as string),
        new TypeError('session.login() takes the principal as a non-empty string'))
    }
    for (const seconds of [0, -1, NaN, Infinity, '60', null]) {
      await t.rejects(session.remember(seconds as number),
        new TypeError('session.remember() takes a number of seconds greater than 0'))
    }
    t.equal(session.isModified(), false)
  })
})

test('P2 an anonymous visitor of an eager application writes without load(), and loses nothing by it', async t => {
  const visit = await startVisits(t, { load: 'eager' })
  await visit(async session => {
    session.visits = 1
    t.equal(await session.load(), session)
    t.equal(session.visits, 1)
    await session.login('ada')
    t.equal(session.visits, 1)
  })
  await visit(async session => {
    t.equal(session.visits, 1)
    t.equal(session.principal, 'ada')
  })
})
