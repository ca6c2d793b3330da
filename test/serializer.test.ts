import type { SerializerOf, SessionOptions } from '../lib/index.js'
import type { SessionDraft } from '../types/store.js'
import type { Script } from './helpers/stage.js'
import { deserialize, serialize } from 'node:v8'
import { test } from 'tap'
import { codecOf, jsonCodec } from '../lib/records/codec.js'
import { WorkingCopy } from '../lib/session/working-copy.js'
import { counting, memoryBackend } from './helpers/backends.js'
import { cookieOf, setCookies, startStage, watch } from './helpers/stage.js'
import { startVisits } from './helpers/visits.js'

const secret = 'a secret of at least 32 bytes, for tests'
const v8: SerializerOf<Uint8Array> = { name: 'v8', serialize, deserialize }

/** JSON with a tag before what JSON cannot carry. */
const tagged: SerializerOf<string> = {
  name: 'tagged-1',
  serialize: value => JSON.stringify(value, function (key, item) {
    const original = this[key]
    if (typeof original === 'function') throw new TypeError(`a function: ${original}`)
    if (original instanceof Date) return { $date: original.getTime() }
    if (original instanceof Map) return { $map: [...original] }
    if (typeof original === 'bigint') return { $bigint: String(original) }
    return item
  }),
  deserialize (text) {
    if (typeof text !== 'string') throw new TypeError('text is what it made')
    return JSON.parse(text, (_key, item) => {
      if (item?.$date !== undefined) return new Date(item.$date)
      if (item?.$map !== undefined) return new Map(item.$map)
      return item?.$bigint === undefined ? item : BigInt(item.$bigint)
    })
  }
}

const draft: SessionDraft = {
  data: { at: new Date(5), tags: new Map([['a', 1n]]), text: 'zażółć\n\n' },
  createdAt: 1,
  authenticatedAt: 2,
  expiresAt: 9,
  principal: 'ada',
  rememberedUntil: null,
  boundTo: null
}
const { expiresAt: _, ...facts } = draft
const content = { ...facts, client: undefined, renewal: undefined }

for (const serializer of [v8, tagged]) {
  const title = `D2 with ${serializer.name}`

  test(`${title}, Date, Map and BigInt come back as what they were, wherever sessions are kept`, async t => {
    for (const options of [{}, { secret, encryption: true }, { secret, store: { type: 'cookie' } }] as SessionOptions[]) {
      const visit = await startVisits(t, { serializer, ...options })
      await visit(async session => {
        await session.load()
        session.set('at', new Date(5))
        session.set('tags', new Map([['a', new Date(6)]]))
        session.set('big', 2n ** 70n)
      })
      await visit(async session => {
        await session.load()
        t.strictSame(session.data(), { at: new Date(5), tags: new Map([['a', new Date(6)]]), big: 2n ** 70n })
        t.equal((session.get('at') as Date).getTime(), 5)
      })
    }
  })

  test(`${title}, a change inside is noticed, and what is equal is none`, async t => {
    const backend = counting(await memoryBackend())
    const { visit } = await startStage(t, { serializer, store: { type: 'custom', backend } })
    const set: Script = session => {
      session.set('tags', new Map([['a', { n: 1 }]]))
      session.set('big', 7n)
      session.set('at', new Date(5))
    }
    const cookie = cookieOf(await visit('', set))
    const calls = async (script: Script) => {
      backend.calls.length = 0
      const { statusCode } = await visit(cookie, script)
      t.equal(statusCode, 200)
      return backend.calls.join()
    }
    const tags = (data: { get (key: string): unknown }) => data.get('tags') as Map<string, { n: number }>
    t.equal(await calls(set), 'read')
    t.equal(await calls(session => [...tags(session)].length), 'read')
    t.equal(await calls(session => { tags(session).get('a')!.n++ }), 'read,update')
    t.equal(await calls(session => { (session.get('at') as Date).setTime(8) }), 'read,update')
    t.equal(await calls(session => { session.update('big', n => n as bigint + 1n) }), 'read,update')
    t.equal(await calls(session => { session.set('big', 8n) }), 'read')
    await visit(cookie, session => {
      const data = session.data()
      t.strictSame(data, { tags: new Map([['a', { n: 2 }]]), big: 8n, at: new Date(8) })
      tags({ get: key => data[key] }).clear()
      t.equal(tags(session).size, 1, 'data() is a copy')
      t.equal(session.isModified(), false)
    })
  })

  test(`${title}, parallel requests keep each other's changes`, async t => {
    const { visit } = await startStage(t, { serializer })
    const cookie = cookieOf(await visit('', session => session.set('n', 0n)))
    await Promise.all(Array.from({ length: 20 }, (_, i) => visit(cookie, session => {
      session.update('n', n => n as bigint + 1n)
      session.set(`key${i}`, new Map([[i, new Date(i)]]))
    })))
    await visit(cookie, session => {
      t.equal(session.get('n'), 20n)
      for (let i = 0; i < 20; i++) t.strictSame(session.get(`key${i}`), new Map([[i, new Date(i)]]))
    })
  })

  test(`${title}, what it cannot carry is refused at set() and at commit, by key and without the value`, async t => {
    const visit = await startVisits(t, { serializer })
    const message = `the session cannot carry secret: it is not carried by the serializer ${serializer.name}`
    const hidden = () => 'hunter2'
    await visit(async session => {
      await session.load()
      t.throws(() => session.set('secret', hidden), { code: 'FST_SESSIONS_VALUE', message, cause: undefined })
      t.throws(() => session.set('secret', { list: [hidden] }), { message })
      t.equal(session.has('secret'), false)
      session.set('secret', { list: [] })
    })
    await t.rejects(visit(async session => {
      await session.load()
      Object.assign(session.get('secret') as object, { list: hidden })
      t.equal(session.isModified(), true)
      await session.save()
    }), { message })
    await visit(async session => t.strictSame((await session.load()).get('secret'), { list: [] }))
  })

  test(`${title}, records are marked; those of JSON are read, all others are corrupt`, async t => {
    const codec = codecOf(serializer)
    const encoded = codec.encode(draft)
    t.equal(typeof encoded, serializer === v8 ? 'object' : 'string')
    t.strictSame(codec.decode(encoded), content)
    t.strictSame(codec.decode(new Uint8Array(Buffer.from(encoded as Uint8Array))), content, 'as bytes, from any store')
    const bound = { ...draft, boundTo: 'handle', rememberedUntil: 8 }
    t.match(codec.decode(codec.encode(bound)), { boundTo: 'handle', rememberedUntil: 8 })

    const plain = { ...draft, data: { a: [1] } }
    t.strictSame(codec.decode(jsonCodec.encode(plain)), { ...content, data: { a: [1] } })
    t.equal(jsonCodec.decode(encoded), null)
    t.equal(codecOf({ ...serializer, name: 'other' } as typeof v8).decode(encoded), null)

    const bytes = Buffer.from(encoded as Uint8Array)
    const body = bytes.indexOf(10) + 1
    for (const wrong of [
      bytes.subarray(0, body), bytes.subarray(0, -3), bytes.subarray(0, body - 1), bytes.subarray(body),
      Buffer.from(`\n${bytes.subarray(body)}`), Buffer.from(`null\n${bytes.subarray(body)}`),
      Buffer.concat([Buffer.from(bytes.subarray(0, body).toString().replace('"v":1', '"v":2')), bytes.subarray(body)]),
      Buffer.from(codec.encode({ ...draft, data: [1] as never }) as Uint8Array), Buffer.alloc(0)
    ]) t.equal(codec.decode(wrong), null)
  })
}

test('D2 with v8, bytes, sets, cycles and NaN are carried', async t => {
  const { visit } = await startStage(t, { serializer: v8 })
  const cookie = cookieOf(await visit('', session => {
    const node: { self?: object } = {}
    node.self = node
    session.set('node', node)
    session.set('bytes', Uint8Array.of(1, 2, 3))
    session.set('set', new Set([1]))
    session.set('nothing', NaN)
  }))
  await visit(cookie, session => {
    const node = session.get('node') as { self: object }
    t.equal(node.self, node)
    t.strictSame([...session.get('bytes') as Uint8Array], [1, 2, 3])
    t.strictSame(session.get('set'), new Set([1]))
    session.set('nothing', NaN)
    t.equal(session.isModified(), false)
    session.set('nothing', 0)
    t.equal(session.isModified(), true)
    session.delete('nothing')
    ;(session.get('bytes') as Uint8Array)[0] = 9
  })
  await visit(cookie, session => {
    t.strictSame([...session.get('bytes') as Uint8Array], [9, 2, 3])
    t.strictSame(session.keys(), ['node', 'bytes', 'set'])
  })
})

test('D16 what is made of bytes is no view of what it is compared with', async t => {
  const codec = codecOf(v8)
  const copy = new WorkingCopy({ bytes: Uint8Array.of(1, 2, 3) }, codec)
  copy.set('bytes', Uint8Array.of(4, 5, 6))
  copy.begin()
  const merged = copy.rebase({ bytes: Uint8Array.of(7) })
  t.strictSame([...merged.bytes as Uint8Array], [4, 5, 6])
  ;(merged.bytes as Uint8Array).fill(0)
  t.strictSame([...copy.rebase({}).bytes as Uint8Array], [4, 5, 6])
})

test('D2 a serializer that makes neither text nor bytes is told so', async t => {
  const visit = await startVisits(t, {
    serializer: { name: 'odd', serialize: () => 7 as unknown as string, deserialize: () => ({}) }
  })
  await t.rejects(visit(async session => (await session.load()).set('a', 1)), {
    code: 'FST_SESSIONS_VALUE',
    message: 'the session cannot carry a: it is made by the serializer odd into neither text nor bytes'
  })
})

test('a serializer may be an object with methods of its own', async t => {
  class Counted {
    readonly name = 'counted'
    calls = 0
    serialize (value: unknown) {
      this.calls++
      return JSON.stringify(value)
    }

    deserialize (text: string): unknown {
      this.calls++
      return JSON.parse(text)
    }
  }
  const serializer = new Counted()
  const { visit } = await startStage(t, { serializer })
  const cookie = cookieOf(await visit('', session => session.set('a', [1])))
  t.strictSame((await visit(cookie, session => session.data())).json(), { a: [1] })
  t.ok(serializer.calls > 2)
})

test('a serializer can be introduced while sessions of JSON are alive, not the other way round', async t => {
  const backend = await memoryBackend()
  const corrupt = watch(t, 'corrupt')
  const store = { type: 'custom', backend }
  const json = await startStage(t, { store })
  const other = await startStage(t, { store, serializer: v8 })
  const cookie = cookieOf(await json.visit('', session => session.set('at', new Date(5))))
  await other.visit(cookie, session => {
    t.equal(session.get('at'), '1970-01-01T00:00:00.005Z', 'as JSON carried it')
    session.set('at', new Date(6))
  })
  await other.visit(cookie, session => t.strictSame(session.get('at'), new Date(6)))
  const response = await json.visit(cookie, session => session.data())
  t.strictSame([response.json(), setCookies(response), corrupt.length], [{}, [], 1])
})
