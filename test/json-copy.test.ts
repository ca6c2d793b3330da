import fc from 'fast-check'
import assert from 'node:assert/strict'
import { test } from 'tap'
import { jsonCopy, jsonEqual } from '../lib/json-copy.js'

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

/** Its text, with the keys of each object in order. */
function ordered (value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(ordered).join()}]`
  return `{${Object.entries(value).map(([key, item]) => JSON.stringify(key) + ordered(item)).sort().join()}}`
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

test('P3 copies are equal when they hold the same, in whatever order of keys', async t => {
  const copy = value.map(throughText)
  fc.assert(fc.property(copy, copy, (a, b) => {
    assert.equal(jsonEqual(a, b), ordered(a) === ordered(b))
    assert.equal(jsonEqual(a, throughText(a)), true)
  }), { seed: 20261121, numRuns: 3000 })
  for (const [a, b] of [
    [JSON.parse('{"__proto__":{}}'), { a: {} }], [{ a: 1, b: 2 }, { b: 2, a: 1 }], [[], {}], [{}, null],
    [[1], [1, 2]], [{ a: 1 }, { a: 1, b: 2 }], [{ constructor: 1 }, {}]
  ]) {
    t.equal(jsonEqual(a, b), ordered(a) === ordered(b))
    t.equal(jsonEqual(b, a), ordered(a) === ordered(b))
  }
})
