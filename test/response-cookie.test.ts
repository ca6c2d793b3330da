import { test } from 'tap'
import type { ResponseCookieOptions, Session } from '../lib/index.js'
import { TestClock } from '../lib/testing/clock.js'
import { cookieOf, setCookies, startStage } from './helpers/stage.js'
import { startVisits } from './helpers/visits.js'

const write = (session: Session) => { session.set('n', 1) }
const attributesOf = (line: string) => line.slice(line.indexOf('; ') + 2)

test('P6 options() gives the cookie of this response other attributes', async t => {
  const clock = new TestClock()
  const rows: Array<[ResponseCookieOptions, string]> = [
    [{}, 'Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ maxAge: 600 }, 'Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ maxAge: 600.9 }, 'Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ maxAge: 10 ** 9 }, 'Max-Age=1800; Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ maxAge: 0 }, 'Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ expires: new Date(clock.now() + 600_999) }, 'Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ expires: new Date(0) }, 'Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ maxAge: 60, expires: new Date(0) }, 'Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ domain: 'example.com', path: '/shop' },
      'Domain=example.com; Path=/shop; HttpOnly; Secure; SameSite=Lax'],
    [{ httpOnly: false, secure: 'auto' }, 'Path=/; SameSite=Lax'],
    [{ secure: false }, 'Path=/; HttpOnly; SameSite=Lax'],
    [{ sameSite: 'none' }, 'Path=/; HttpOnly; Secure; SameSite=None'],
    [{ sameSite: true }, 'Path=/; HttpOnly; Secure; SameSite=Strict'],
    [{ sameSite: false }, 'Path=/; HttpOnly; Secure; SameSite=Lax'],
    [{ partitioned: true, priority: 'high' },
      'Path=/; HttpOnly; Secure; Partitioned; Priority=High; SameSite=Lax'],
    [{ signed: true, userInfo: 'ada', maxAge: undefined, expires: null } as object,
      'Path=/; HttpOnly; Secure; SameSite=Lax']
  ]
  const { visit } = await startStage(t, { clock, cookie: { name: 's' } })
  for (const [options, attributes] of rows) {
    const response = await visit('', session => { session.options(options); write(session) })
    t.same(setCookies(response).map(attributesOf), [attributes], JSON.stringify(options))
  }
})

test('P6 options() may be called before load(), and several times', async t => {
  const visit = await startVisits(t)
  const response = await visit(async session => {
    session.options({ maxAge: 60, sameSite: 'strict' })
    write(await session.load())
    session.options({ maxAge: 120 })
  })
  t.same(setCookies(response).map(attributesOf), ['Max-Age=120; Path=/; HttpOnly; Secure; SameSite=Strict'])
  const next = await visit(async session => (await session.load()).regenerate())
  t.same(setCookies(next).map(attributesOf), ['Path=/; HttpOnly; Secure; SameSite=Lax'], 'for one response')
})

test('P6 the cookie of a stored session is sent with them once, though it has not changed', async t => {
  const { visit } = await startStage(t, {})
  const cookie = cookieOf(await visit('', write))
  const lines = async (...scripts: Array<(session: Session) => unknown>) => {
    return setCookies(await visit(cookie, async session => {
      for (const script of scripts) await script(session)
    }))
  }
  t.same(await lines(), [])
  t.same(await lines(session => session.options({ maxAge: 60 })),
    [`${cookie}; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax`])
  t.same(await lines(session => session.options({ maxAge: 60 }), session => session.save(), write), [
    `${cookie}; Max-Age=60; Path=/; HttpOnly; Secure; SameSite=Lax`
  ])
  t.same(await lines(session => session.options({ userInfo: 'ada' } as ResponseCookieOptions)), [], 'nothing known')
  const failed = await visit(cookie, (session, _request, reply) => {
    session.options({ maxAge: 60 })
    reply.code(500)
  })
  t.same(setCookies(failed), [])
  t.same(setCookies(await visit('', session => session.options({ maxAge: 60 }))), [], 'there is no session')
  t.match(await lines(session => session.destroy(), session => session.options({ maxAge: 60 })),
    [/^__Host-session=; Max-Age=0/])
})

test('P6 a remembered session keeps its Max-Age', async t => {
  const { visit } = await startStage(t, { clock: new TestClock() })
  const cookie = cookieOf(await visit('', session => session.remember(7200).then(() => write(session))))
  t.same(setCookies(await visit(cookie, session => session.options({ sameSite: 'strict' }))),
    [`${cookie}; Max-Age=7200; Path=/; HttpOnly; Secure; SameSite=Strict`])
})

test('P6 what browsers would refuse is refused', async t => {
  const { visit } = await startStage(t, {})
  for (const options of [
    { path: '/shop' }, { domain: 'example.com' }, { secure: false }, { secure: false, sameSite: 'none' },
    { path: 'shop' }, { domain: 'a b' }, { maxAge: -1 }, { maxAge: '60' }, { sameSite: 'sometimes' },
    { expires: 'tomorrow' }, { expires: new Date(NaN) }
  ] as ResponseCookieOptions[]) {
    const response = await visit('', session => {
      write(session)
      t.throws(() => session.options(options), { code: 'FST_SESSIONS_OPTION' }, JSON.stringify(options))
    })
    t.match(setCookies(response), [/; Path=\/; HttpOnly; Secure; SameSite=Lax$/], 'and leaves the cookie as it was')
  }
})

test('P6 where the session cannot be written, the cookie cannot be changed', async t => {
  const visit = await startVisits(t, { store: { type: 'null' } })
  await visit(session => t.throws(() => session.options({ maxAge: 60 }), { code: 'FST_SESSIONS_NO_STORE' }))
})

test('P6 nor where there is no response', async t => {
  const { app, visit } = await startStage(t, {})
  const session = await app.sessions.fromCookie(cookieOf(await visit('', write)))
  t.throws(() => session.options({ maxAge: 60 }), { code: 'FST_SESSIONS_DETACHED' })
})

test('P5 regenerate() without keys keeps nothing with regenerate: clear', async t => {
  const { visit } = await startStage(t, { regenerate: 'clear' })
  const fill = (session: Session) => { write(session); session.set('kept', 1) }
  const rows: Array<[keys: string[] | undefined, kept: object]> = [[undefined, {}], [['kept'], { kept: 1 }]]
  for (const [keys, kept] of rows) {
    const old = cookieOf(await visit('', fill))
    const renewed = cookieOf(await visit(old, session => session.regenerate(keys!)))
    t.same((await visit(renewed, session => session.data())).json(), kept)
    t.same((await visit(old, session => session.data())).json(), {})
  }
})

test('P5 P6 of several sessions: all, or one part', async t => {
  const parts = { auth: { fields: ['who', 'principal'] }, rest: {} }
  const { visit } = await startStage(t, { regenerate: 'clear', sessions: parts })
  const fill = (session: Session) => { session.set('who', 'ada'); write(session) }
  const cookies = async () => setCookies(await visit('', fill)).map(line => line.split(';')[0]).join('; ')
  const agesOf = (lines: string[]) => lines.map(line => `${line.split('=')[0]} ${/Max-Age=\d+/.exec(line)}`).sort()

  const both = await visit(await cookies(), session => session.options({ maxAge: 60 }))
  t.same(agesOf(setCookies(both)), ['__Host-auth Max-Age=60', '__Host-rest Max-Age=60'])
  const one = await visit(await cookies(), session => session.part('auth').options({ maxAge: 60 }))
  t.same(agesOf(setCookies(one)), ['__Host-auth Max-Age=60'])

  for (const [script, kept] of [
    [session => session.login('ada'), { who: 'ada', n: 1 }],
    [session => session.part('auth').regenerate(), { n: 1 }],
    [session => session.regenerate(), {}]
  ] as Array<[(session: Session) => unknown, object]>) {
    const response = await visit(await cookies(), async session => {
      await script(session)
      return session.data()
    })
    t.same(response.json(), kept, 'only regenerate() clears')
  }
})
