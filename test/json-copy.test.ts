import fc from 'fast-check'
import assert from 'node:assert/strict'
import { test } from 'tap'
import { jsonCopy, jsonEqual } from '../lib/base/json-copy.js'

const rare = fc.constantFrom<unknown>(
  undefined, NaN, -0, Infinity, new Date(0), new Date(NaN), () => 1, Symbol('s'),
  { toJSON: () => undefined }, { toJSON: () => 7 }, { toJSON: (key: string) => ({ key }) },
  { toJSON: () => ({ toJSON: () => 'not asked a second time' }) }, new Map([[1, 2]]), Object.create({ inherited: 1 })
)
const key = fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', 'length', '0', '1'))
const { value } = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'binary' }), fc.double(), fc.integer(), fc.boolean(), fc.constant(null), rare,
    fc.array(tie('value')),
    // Not by assignment, which takes __proto__ for something else.
    fc.array(fc.tuple(key, tie('value'))).map(entries => Object.fromEntries(entries))
  )
}))

function throughText (value: unknown): unknown {
  const text = JSON.stringify(value)
  return text === undefined ? undefined : JSON.parse(text)
}

test('P3 a copy is what comes back through the text of JSON', async () => {
  fc.assert(fc.property(value, value => {
    const copy = jsonCopy(value)
    assert.deepStrictEqual(copy, throughText(value))
    assert.equal(JSON.stringify(copy), JSON.stringify(value), 'the order of keys')
  }), { seed: 20261121, numRuns: 3000 })
})

test('P4 a copy shares nothing', async t => {
  const value = { list: [{ a: 1 }], own: JSON.parse('{"__proto__":{"b":2}}') }
  const copy = jsonCopy(value) as typeof value
  copy.list[0].a = 3
  ;(Object.values(copy.own)[0] as Record<string, unknown>).b = 4
  t.strictSame(JSON.stringify(value), '{"list":[{"a":1}],"own":{"__proto__":{"b":2}}}')
})

test('P3 what JSON cannot carry throws', async t => {
  const circular: Record<string, unknown> = { list: [] }
  ;(circular.list as unknown[]).push(circular)
  t.throws(() => jsonCopy(circular))
  t.throws(() => jsonCopy([1n]))
})

test('P3 what holds itself throws at once, however much stands beside', async t => {
  const circular: Record<string, unknown> = { list: Array.from({ length: 1000 }, (_, n) => ({ n, text: 'x' })) }
  circular.self = circular
  const begun = performance.now()
  t.throws(() => jsonCopy(circular), { message: /circular/ })
  t.ok(performance.now() - begun < 1000)
})

test('P3 an array of billions of empty items throws', async t => {
  const list: unknown[] = []
  list[4_000_000_000] = 1
  t.throws(() => jsonCopy({ list }), RangeError)
})

test('P3 whatever is deep, and can be stored, is copied and compared', async t => {
  const nested = (depth: number, last: unknown) => {
    let list = last
    let object = last
    for (let level = 0; level < depth; level++) {
      list = [list]
      object = { ['__proto__']: object }
    }
    return [list, object]
  }
  for (const depth of [1, 49, 50, 51, 52, 3700]) {
    const values = nested(depth, [1])
    const copies = values.map(value => jsonCopy(value))
    t.equal(JSON.stringify(copies), JSON.stringify(values), `${depth} levels`)
    values.forEach((value, i) => {
      t.equal(jsonEqual(copies[i], jsonCopy(value)), true)
      t.equal(jsonEqual(copies[i], jsonCopy(nested(depth, [2])[i])), false)
    })
  }
  const key = (depth: number) => nested(depth, { toJSON: (key: string) => key })
  t.equal(JSON.stringify(jsonCopy(key(60))), JSON.stringify(key(60)))
  const none = nested(60, { toJSON () {} })
  t.equal(JSON.stringify(jsonCopy(none)), JSON.stringify(none))
})

test('D1 keys of a prototype that is frozen are keys like any other', async t => {
  const value = JSON.parse('{"valueOf":1,"__proto__":2}')
  const shared = Object.prototype
  Object.defineProperty(shared, 'valueOf', { writable: false })
  try {
    t.equal(JSON.stringify(jsonCopy(value)), '{"valueOf":1,"__proto__":2}')
  } finally {
    Object.defineProperty(shared, 'valueOf', { writable: true })
  }
})

test('P3 copies are equal when their texts are, the order of keys included', async t => {
  const copy = value.map(throughText)
  fc.assert(fc.property(copy, copy, (a, b) => {
    assert.equal(jsonEqual(a, b), JSON.stringify(a) === JSON.stringify(b))
    assert.equal(jsonEqual(a, throughText(a)), true)
  }), { seed: 20261121, numRuns: 3000 })
  for (const [a, b] of [
    [JSON.parse('{"__proto__":{}}'), { a: {} }], [{ a: 1, b: 2 }, { b: 2, a: 1 }], [[], {}], [{}, null],
    [[1], [1, 2]], [{ a: 1 }, { a: 1, b: 2 }], [{ constructor: 1 }, {}]
  ]) {
    t.equal(jsonEqual(a, b), false)
    t.equal(jsonEqual(b, a), false)
  }
})
