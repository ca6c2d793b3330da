import fc from 'fast-check'
import { test } from 'tap'
import type { Data } from '../lib/session/working-copy.js'
import { WorkingCopy } from '../lib/session/working-copy.js'
import { SequentialWriter } from './helpers/sequential.js'

const increment = (n: unknown) => Number(n ?? 0) + 1
const plain = (data: Data): Data => ({ ...data })

test('P2 get, set, has, delete, clear and keys', async t => {
  const copy = new WorkingCopy({ a: 1, b: [2] })
  t.equal(copy.get('a'), 1)
  t.strictSame(copy.get('b'), [2])
  t.equal(copy.get('c'), undefined)
  t.equal(copy.has('a'), true)
  t.equal(copy.has('c'), false)
  copy.set('c', null)
  t.strictSame(copy.keys(), ['a', 'b', 'c'])
  t.equal(copy.delete('a'), true)
  t.equal(copy.delete('a'), false)
  t.strictSame(copy.data(), { b: [2], c: null })
  copy.clear()
  t.equal(copy.isEmpty(), true)
})

test('P3 setting undefined removes', async t => {
  const copy = new WorkingCopy({ a: 1 })
  copy.set('a', undefined)
  copy.set('b', undefined)
  t.strictSame(copy.keys(), [])
})

test('D1 keys of the prototype are keys like any other', async t => {
  const copy = new WorkingCopy(JSON.parse('{"__proto__":{"a":1}}'))
  t.equal(copy.has('constructor'), false)
  t.equal(copy.get('toString'), undefined)
  t.strictSame(copy.keys(), ['__proto__'])
  copy.set('constructor', 1)
  copy.update('__proto__', value => ({ ...value as object, b: 2 }))
  copy.begin()
  const merged = copy.rebase(JSON.parse('{"__proto__":{"c":3},"other":1}'))
  t.equal(JSON.stringify(merged), '{"__proto__":{"c":3,"b":2},"other":1,"constructor":1}')
  t.equal(({} as Data).b, undefined)
})

test('P4 a copy of the data shares nothing', async t => {
  const copy = new WorkingCopy({ a: [1] })
  ;(copy.data().a as number[]).push(2)
  t.strictSame(copy.get('a'), [1])
  t.equal(copy.isModified(), false)
})

test('L13 an equal value is not a change, nor is one that was put back', async t => {
  const copy = new WorkingCopy({ n: 1, text: 'x', list: [1], at: '2020-01-01T00:00:00.000Z', nothing: null })
  copy.set('n', 1)
  copy.set('text', 'x')
  copy.set('list', [1])
  copy.set('at', new Date('2020-01-01'))
  copy.set('nothing', null)
  copy.update('n', n => n)
  t.equal(copy.isModified(), false)
  copy.set('n', 2)
  copy.delete('text')
  copy.set('new', 1)
  t.equal(copy.isModified(), true)
  copy.set('n', 1)
  copy.set('text', 'x')
  copy.delete('new')
  t.equal(copy.isModified(), false)
})

test('L14 nested changes are changes', async t => {
  const change: Array<(list: { a?: unknown[] }) => unknown> = [
    value => value.a!.push(1), value => { value.a = [1] }, value => { delete value.a }
  ]
  for (const act of change) {
    const copy = new WorkingCopy({ value: { a: [] } })
    const value = copy.get('value') as { a?: unknown[] }
    t.equal(copy.isModified(), false)
    act(value)
    t.equal(copy.isModified(), true)
    copy.begin()
    t.strictSame(plain(copy.rebase({ value: { a: [] }, x: 1 })), { value, x: 1 })
  }
})

test('D2 what cannot be carried is refused where it is set, or when the batch begins', async t => {
  const copy = new WorkingCopy({ list: [1] })
  t.throws(() => copy.set('f', () => {}), { code: 'FST_SESSIONS_VALUE' })
  t.throws(() => copy.update('n', async () => 1), { code: 'FST_SESSIONS_VALUE', message: /'?n'?.*promise/ })
  t.throws(() => copy.update('n', () => NaN), { code: 'FST_SESSIONS_VALUE' })
  t.equal(copy.isModified(), false)
  const list = copy.get('list') as unknown[]
  list.push(list)
  t.equal(copy.isModified(), true)
  t.throws(() => copy.begin(), { code: 'FST_SESSIONS_VALUE', message: /list\[1\]/ })
  list.pop()
  t.equal(copy.isModified(), false, 'and nothing is lost by that')
  list.push(2)
  copy.begin()
  t.strictSame(plain(copy.rebase({})), { list: [1, 2] })
})

test('R5 update() is run again on what others have stored', async t => {
  const copy = new WorkingCopy({ n: 1 })
  t.equal(copy.update('n', increment), 2)
  t.equal(copy.update('n', increment), 3)
  copy.update('fresh', increment)
  copy.update('gone', () => undefined)
  copy.begin()
  t.strictSame(plain(copy.rebase({ n: 10, fresh: 10, gone: 1 })), { n: 12, fresh: 11, gone: 1 })
  t.strictSame(plain(copy.rebase({ n: 20 })), { n: 22, fresh: 1 })
  t.strictSame(copy.data(), { n: 22, fresh: 1 })
})

test('R5 update() that removes the value removes it from what others have stored', async t => {
  const copy = new WorkingCopy({ n: 1 })
  copy.update('n', () => undefined)
  copy.begin()
  t.strictSame(plain(copy.rebase({ n: 10, x: 1 })), { x: 1 })
})

test('R5 update() on a value that this request has set itself belongs to that', async t => {
  for (const other of [(copy: WorkingCopy) => copy.set('v', { n: 1 }),
    (copy: WorkingCopy) => Object.assign(copy.get('v') as object, { n: 1 })]) {
    const copy = new WorkingCopy({ v: { n: 0 } })
    other(copy)
    copy.update('v', v => ({ ...v as object, m: 1 }))
    copy.begin()
    t.strictSame(plain(copy.rebase({ v: { n: 5, theirs: 1 } })), { v: { n: 1, m: 1 } })
  }
})

test('R5 what is changed after update() is kept, for the price of what others have stored', async t => {
  for (const [after, expected] of [
    [(copy: WorkingCopy) => copy.set('v', { n: 9 }), { v: { n: 9 } }],
    [(copy: WorkingCopy) => copy.set('v', { n: 0, m: 1 }), { v: { n: 0, m: 1 } }],
    [(copy: WorkingCopy) => copy.delete('v'), {}],
    [(copy: WorkingCopy) => Object.assign(copy.get('v') as object, { n: 9 }), { v: { n: 9, m: 1 } }]
  ] as const) {
    const copy = new WorkingCopy({ v: { n: 0 } })
    copy.update('v', v => ({ ...v as object, m: 1 }))
    after(copy)
    copy.begin()
    t.strictSame(plain(copy.rebase({ v: { n: 5, theirs: 1 } })), expected)
  }
})

test('R5 update() that makes of another value what cannot be carried fails, and can be tried again', async t => {
  const copy = new WorkingCopy({ n: 4 })
  copy.update('n', n => 1 / Number(n))
  copy.begin()
  t.throws(() => copy.rebase({ n: 0 }), { code: 'FST_SESSIONS_VALUE' })
  copy.restore()
  copy.begin()
  t.strictSame(plain(copy.rebase({ n: 2 })), { n: 0.5 })
})

test('R4 references to objects that nobody changed stay valid', async t => {
  const copy = new WorkingCopy({ mine: [1], theirs: [1], same: [1] })
  const [mine, theirs, same] = ['mine', 'theirs', 'same'].map(key => copy.get(key) as number[])
  mine.push(2)
  copy.begin()
  copy.rebase({ mine: [1], theirs: [1, 3], same: [1], fresh: [4] })
  copy.settle()
  t.equal(copy.isModified(), false)
  t.equal(copy.get('mine'), mine)
  t.equal(copy.get('same'), same)
  t.not(copy.get('theirs'), theirs)
  t.strictSame(copy.data(), { mine: [1, 2], theirs: [1, 3], same: [1], fresh: [4] })
  same.push(5)
  t.equal(copy.isModified(), true)
})

test('R4 what is written again is what was there when the batch began', async t => {
  const copy = new WorkingCopy({ list: [1] })
  const list = copy.get('list') as unknown[]
  list.push(2)
  copy.begin()
  list.push(list)
  t.strictSame(plain(copy.rebase({ x: 1 })), { list: [1, 2], x: 1 })
  copy.settle()
  t.throws(() => copy.begin(), { code: 'FST_SESSIONS_VALUE' })
})

test('R4 a later update() that changes objects in place does not slip into the batch', async t => {
  const push = (value: unknown) => (list: unknown) => { (list as unknown[]).push(value); return list }
  const copy = new WorkingCopy({ list: [] })
  copy.update('list', push(1))
  copy.begin()
  copy.update('list', push(2))
  t.strictSame(plain(copy.rebase({ list: [0] })), { list: [0, 1] })
  t.strictSame(copy.data(), { list: [0, 1, 2] })
})

test('P5 keepOnly() keeps the keys named, of what others have stored too', async t => {
  const copy = new WorkingCopy({ a: 1, b: 2, c: [3] })
  copy.get('c')
  copy.update('a', increment)
  copy.update('b', increment)
  copy.keepOnly(['a', 'unknown'])
  t.equal(copy.isModified(), true)
  t.strictSame(copy.data(), { a: 2 })
  copy.keepOnly(['a', 'c'])
  copy.set('c', [3])
  copy.update('b', increment)
  copy.begin()
  t.strictSame(plain(copy.rebase({ a: 10, b: 20, c: 30, unknown: 1, theirs: 1 })), { a: 11, c: [3], b: 1 })
  copy.restore()
  t.equal(copy.isModified(), true)
  copy.begin()
  t.strictSame(plain(copy.rebase({ a: 20, c: 0, later: 1 })), { a: 21, c: [3], b: 1 })
  copy.settle()
  t.equal(copy.isModified(), false)
})

// Several writers of one record, against SequentialWriter.

const writers = 3
const key = fc.constantFrom('count', 'x', 'y')
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('look', 'add', 'add', 'set', 'push', 'delete'), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('keepOnly'), keep: fc.subarray(['x', 'y']) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('begin', 'begin', 'write', 'write', 'fail') }) }
)
const story = fc.array(fc.tuple(fc.nat(writers - 1), action), { minLength: 1, maxLength: 60, size: 'max' })

/** One request: the real thing and the model, in step. */
class Writer {
  readonly real: WorkingCopy
  readonly model: SequentialWriter
  /** Of what it has seen and, while it writes, of what it writes to. */
  known: number
  version: number
  isWriting = false
  toWrite: Data = {}
  /** What it has added to the counter: later, and in the batch. */
  added = 0
  adding = 0

  constructor ({ data, version }: Shared) {
    this.real = new WorkingCopy(structuredClone(data))
    this.model = new SequentialWriter(data)
    this.known = this.version = version
  }
}

interface Shared { data: Data, version: number }

test('R4 R5 several writers: each keeps its changes and nobody else\'s are lost', async t => {
  fc.assert(fc.property(story, steps => {
    const shared: Shared = { data: { count: 0, x: [0], y: 0 }, version: 0 }
    const all = Array.from({ length: writers }, () => new Writer(shared))
    let values = 0
    let count = 0
    for (const [who, { do: verb, ...what }] of steps) {
      const writer = all[who]
      const { real, model } = writer
      const key = 'key' in what ? what.key : 'count'
      switch (verb) {
        case 'look':
          real.get(key)
          break
        case 'add': {
          // Counts nowhere but under `count`, elsewhere lists grow; neither ever comes to the same again.
          const value = ++values
          if (key === 'count') writer.added += value
          const step = key === 'count'
            ? (n: unknown) => Number(n ?? 0) + value
            : (list: unknown) => [...Array.isArray(list) ? list : [list ?? null], value]
          real.update(key, step)
          model.apply(key, step)
          break
        }
        case 'set':
          if (key === 'count') break
          real.set(key, [++values])
          model.put(key, [values])
          break
        case 'delete':
          if (key === 'count') break
          real.delete(key)
          model.put(key, undefined)
          break
        case 'push': {
          const list = real.get(key)
          if (!Array.isArray(list)) break
          list.push(++values)
          model.put(key, list)
          break
        }
        case 'keepOnly':
          if (writer.isWriting || !('keep' in what)) break
          real.keepOnly(['count', ...what.keep])
          model.keepOnly(['count', ...what.keep])
          break
        case 'begin':
          if (writer.isWriting) break
          real.begin()
          model.begin()
          writer.isWriting = true
          writer.version = writer.known
          writer.adding = writer.added
          writer.added = 0
          writer.toWrite = structuredClone({ ...real.current() })
          break
        case 'write':
          if (!writer.isWriting) break
          if (writer.version === shared.version) {
            equal(writer.toWrite, model.written(), 'written')
            shared.data = writer.toWrite
            writer.known = ++shared.version
            count += writer.adding
            real.settle()
            model.settle()
            writer.isWriting = false
          } else {
            writer.toWrite = structuredClone({ ...real.rebase(structuredClone(shared.data)) })
            writer.version = shared.version
            model.rebase(shared.data)
          }
          break
        case 'fail':
          if (!writer.isWriting) break
          real.restore()
          model.restore()
          writer.isWriting = false
          writer.added += writer.adding
      }
      equal(real.data(), model.view(), 'seen')
      equal({ count: shared.data.count }, { count }, 'counted')
    }
  }), { numRuns: 5000, seed: 20241121 })
  t.pass('5000 stories')
})

function equal (actual: Data, expected: Data, what: string): void {
  const [a, b] = [actual, expected].map(data => JSON.stringify(Object.entries(data).sort()))
  if (a !== b) throw new Error(`${what}: ${a}, expected ${b}`)
}

test('P9 an empty object under flash is nothing; under other keys it is a value', async t => {
  const copy = new WorkingCopy({})
  copy.set('flash', {})
  t.equal(copy.isEmpty(), true)
  t.equal(copy.isModified(), false)
  for (const value of [[], null, '', { error: ['wrong'] }]) {
    copy.set('flash', value)
    t.strictSame(copy.get('flash'), value)
  }
  copy.set('flash', {})
  t.equal(copy.has('flash'), false)
  copy.set('other', {})
  t.strictSame(copy.get('other'), {})
})
