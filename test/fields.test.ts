import { test } from 'tap'
import type { Fields } from '../lib/session/fields.js'
import { settleFields } from '../lib/session/fields.js'
import { checkSessions, defineSessions } from '../lib/config/session-parts.js'

/** Who owns a, b, c and a field that nobody names, in whatever order the sessions are configured. */
function owners (fields: Record<string, Fields>): string {
  const told = [Object.entries(fields), Object.entries(fields).reverse()].map(entries => {
    const ownerOf = settleFields(Object.fromEntries(entries))
    return ['a', 'b', 'c', 'other', '__proto__'].map(ownerOf).join(' ')
  })
  if (told[0] !== told[1]) throw new Error(`depends on the order: ${told.join(' or ')}`)
  return told[0]
}

test('M1 M9 every field has one owner, whatever the order', async t => {
  for (const [fields, expected] of [
    [{ one: '*' }, 'one one one one one'],
    [{ one: 'rest' }, 'one one one one one'],
    [{ one: ['a'], two: 'rest' }, 'one two two two two'],
    [{ one: ['a', 'b'], two: ['c'], three: 'rest' }, 'one one two three three'],
    [{ one: ['a'], two: { exclude: ['a'] } }, 'one two two two two'],
    [{ one: { include: ['a', 'b'], exclude: ['b'] }, two: { exclude: ['a'] } }, 'one two two two two'],
    [{ one: { include: ['a'] }, two: { exclude: ['a', 'b'] }, three: ['b'] }, 'one three two two two'],
    [{ one: { exclude: ['a', 'b'] }, two: 'rest' }, 'two two one one one'],
    [{ one: ['__proto__'], two: 'rest' }, 'two two two two one'],
    [{ one: [], two: '*' }, 'two two two two two']
  ] as Array<[Record<string, Fields>, string]>) t.equal(owners(fields), expected, JSON.stringify(fields))
})

test('M2 two owners or none are an error that names the field and the sessions', async t => {
  for (const [fields, message] of [
    [{ one: ['a'], two: ['a', 'b'], three: 'rest' }, "the field 'a' belongs to the sessions 'one' and 'two'; one must own it"],
    [{ one: ['a'], two: '*' }, "the field 'a' belongs to the sessions 'one' and 'two'; one must own it"],
    [{ one: '*', two: { exclude: ['a'] }, three: ['a'] },
      "the field 'a' belongs to the sessions 'one' and 'three'; one must own it"],
    [{ one: '*', two: { exclude: [] } },
      "a field that no session names belongs to the sessions 'one' and 'two'; one must own it"],
    [{ one: ['a'] }, "a field that no session names belongs to no session; give one of them fields: 'rest'"],
    [{ one: { exclude: ['a'] } }, "the field 'a' belongs to no session; give one of them fields: 'rest'"],
    [{ one: 'rest', two: 'rest' }, "the sessions 'one' and 'two' both take the 'rest' of the fields"]
  ] as Array<[Record<string, Fields>, string]>) {
    t.throws(() => settleFields(fields), { code: 'FST_SESSIONS_OPTION', message }, JSON.stringify(fields))
  }
})

test('M2 what is wrong with one of several sessions is told at boot, by its name', async t => {
  const short = { secret: 'x' }
  for (const [options, message] of [
    [{ sessions: {} }, 'session option sessions must be an object of sessions by their names, received an object'],
    [{ sessions: [] }, 'session option sessions must be an object of sessions by their names, received an array of 0'],
    [{ sessions: { a: 1 } }, 'session option sessions must be an object of sessions by their names, received an object'],
    [{ sessions: null }, 'session option sessions must be an object of sessions by their names, received null'],
    [{ sessions: { a: { fields: 7 } } },
      "session 'a' option fields must be a list of names, { include, exclude }, '*' or 'rest', received 7"],
    [{ sessions: { a: { fields: { incl: ['x'] } } } },
      "session 'a' option fields must be a list of names, { include, exclude }, '*' or 'rest', received an object"],
    [{ sessions: { a: { fields: {} } } },
      "session 'a' option fields must be a list of names, { include, exclude }, '*' or 'rest', received an object"],
    [{ sessions: { a: { fields: null } } },
      "session 'a' option fields must be a list of names, { include, exclude }, '*' or 'rest', received null"],
    [{ sessions: { a: { fields: ['x', 1] } } },
      "session 'a' option fields must be a list of names, { include, exclude }, '*' or 'rest', received an array of 2"],
    [{ sessions: { a: { idleTimeout: 0 } } },
      "session 'a' option idleTimeout must be a number of seconds greater than 0, or null, received 0"],
    [{ sessions: { a: { idelTimeout: 1 } } }, "session 'a' option idelTimeout is unknown; did you mean idleTimeout?"],
    [{ idelTimeout: 1, sessions: { a: {} } }, 'session option idelTimeout is unknown; did you mean idleTimeout?'],
    [{ sessions: { a: short } }, "session 'a' option secret must be a string or buffer of at least 32 bytes, " +
      'or an array of them, received a string of 1 characters'],
    [{ sessions: { a: { secret: undefined } } }, "session 'a' option secret was given, but is undefined; " +
      'is an environment variable missing? Leave the option out for ids without a signature'],
    [{ sessions: { a: { generateId: () => 'x'.repeat(32) } } },
      "session 'a' option generateId returned the same id twice"],
    [{ sessions: { 'a b': {} } },
      "session 'a b' option name must be a letter and up to 39 of A-Z a-z 0-9 _ -, received 'a b'"],
    [{ name: 'x', sessions: { a: {} } }, 'session option name has no meaning beside sessions, whose keys are names'],
    [{ sessions: { a: { name: 'b' } } }, "session 'a' option name is set beside sessions, for all of them"],
    [{ sessions: { a: { clock: Date } } }, "session 'a' option clock is set beside sessions, for all of them"],
    [{ sessions: { a: { sessions: {} } } }, "session 'a' option sessions is set beside sessions, for all of them"],
    [{ sessions: { a: {}, b: { fields: ['x'], cookie: { secure: false, sameSite: 'none' } } } },
      "session 'b' option cookie.sameSite 'none' needs cookie.secure: true"],
    [{ cookie: { name: 'sid' }, sessions: { a: {}, b: { fields: ['x'] } } },
      "the sessions 'a' and 'b' have the same cookie 'sid'; give each a cookie.name of its own"],
    ...['a', 'c', 'bound', 7].map(bindTo => [{ sessions: { a: { bindTo }, b: { fields: ['x'] }, bound: { fields: ['y'], bindTo: 'b' } } },
      typeof bindTo === 'number'
        ? "session 'a' option bindTo must be a string, received 7"
        : `session 'a' option bindTo must name another session that is not bound itself, received '${bindTo}'`])
  ] as Array<[unknown, string]>) {
    t.throws(() => checkSessions(options), { code: 'FST_SESSIONS_OPTION', message }, message)
  }
})

test('options beside sessions are the defaults of each; nothing of the caller is changed', async t => {
  const received = {
    idleTimeout: 100,
    cookie: { sameSite: 'strict', secure: false },
    sessions: {
      b: { fields: ['x'], idleTimeout: 50, cookie: { sameSite: 'lax' } },
      a: { cookie: { path: '/a' }, bindTo: 'b' }
    }
  }
  const before = structuredClone(received)
  const { parts, ownerOf } = checkSessions(received)
  t.strictSame(received, before)
  t.equal(defineSessions(received as {}), received)
  t.strictSame(parts.map(({ namespace }) => namespace), ['a', 'b'])
  t.strictSame(parts.map(({ bindTo }) => bindTo), ['b', undefined])
  t.strictSame(parts.map(({ options }) => options.name), ['a', 'b'])
  t.strictSame(parts.map(({ options }) => options.idleTimeout), [100, 50])
  t.strictSame(parts.map(({ options: { cookie } }) => [cookie.path, cookie.sameSite, cookie.secure]),
    [['/a', 'strict', false], ['/', 'lax', false]])
  t.equal(ownerOf('x'), 'b')
  t.equal(ownerOf('y'), 'a')
  t.equal(checkSessions({ sessions: { a: { fields: '*' } } }).ownerOf('z'), 'a')
  const listed = checkSessions({ sessions: { a: { fields: { include: ['x'], exclude: [] } }, b: {} } })
  t.equal(listed.ownerOf('x'), 'a')
})
