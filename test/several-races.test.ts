import { test } from 'tap'
import type { Session, SessionOptions } from '../lib/index.js'
import type { SessionBackend } from '../types/store.js'
import { TestClock } from '../lib/testing/clock.js'
import { memoryBackend } from './helpers/backends.js'
import { heldVisit } from './helpers/pause.js'
import { setCookies, startStage } from './helpers/stage.js'
import type { Stage } from './helpers/stage.js'

interface Teardown { teardown (fn: () => unknown): void }

const secret = 's'.repeat(32)
const data = (session: Session) => session.data()

/** `auth` with the login and `user`, and `prefs` with `note`, bound to it. */
async function startBound (t: Teardown, prefs: SessionOptions['store'] = { type: 'memory' }, options: SessionOptions = {}) {
  const clock = new TestClock()
  const stage = await startStage(t, {
    clock, secret, sessions: { auth: {}, prefs: { store: prefs, fields: ['note'], bindTo: 'auth' } }, ...options
  })
  const jar = new Map<string, string>()
  const cookies = () => [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const keep = (response: Parameters<typeof setCookies>[0]) => {
    for (const line of setCookies(response)) {
      const [name, value] = line.split(';')[0].split('=')
      if (value === '') jar.delete(name)
      else jar.set(name, value)
    }
    return response
  }
  const visit = async (script: Parameters<Stage['visit']>[1]) => keep(await stage.visit(cookies(), script))
  await visit(async session => {
    await session.login('alice')
    session.set('note', 'of alice')
    return 'done'
  })
  return { stage, visit, cookies, keep, jar }
}

for (const [how, store] of [['memory', { type: 'memory' }], ['cookie', { type: 'cookie' }]] as const) {
  for (const end of ['logout', 'destroyByUser'] as const) {
    test(`M11 ${how}, ${end}: what is bound to a session that ends meanwhile is written for nobody`, async t => {
      const { stage, visit, cookies, keep, jar } = await startBound(t, store)
      const { finish } = await heldVisit(stage, cookies())
      const copy = new Map(jar)
      if (end === 'logout') await stage.visit(cookies(), async session => { await session.logout(); return 'done' })
      else await stage.app.sessions.destroyByUser('alice')
      const slow = await finish(session => {
        session.set('user', 'x')
        session.set('note', 'late')
      })
      t.strictSame(setCookies(slow), [])
      keep(slow)
      t.strictSame((await visit(data)).json(), {})
      await visit(async session => { await session.login('bob'); return 'done' })
      for (const [name, value] of copy) if (name.includes('prefs')) jar.set(name, value)
      t.strictSame((await visit(data)).json(), {}, 'nor for the next who logs in')
    })
  }
}

for (const [how, store] of [['memory', { type: 'memory' }], ['cookie', { type: 'cookie' }]] as const) {
  test(`M6 ${how}: a logout logs the browser out, though another tab has logged in meanwhile`, async t => {
    const { stage, visit, cookies, keep, jar } = await startBound(t, store)
    const login = () => visit(async session => { await session.login('alice'); return 'done' })
    const before = cookies()
    const { finish } = await heldVisit(stage, before)
    await login()
    keep(await finish(async session => {
      session.set('note', 'early')
      await session.logout()
    }))
    t.strictSame([...jar], [])
    await login()
    keep(await stage.visit(before, async session => { await session.logout(); return 'done' }))
    t.strictSame([...jar], [], 'nor when the logout was on its way')
    t.strictSame((await visit(data)).json(), {})
  })
}

test('M11 what is bound to a session that is gone can be logged out', async t => {
  const { stage, cookies, keep, jar } = await startBound(t)
  const { finish } = await heldVisit(stage, cookies())
  await stage.app.sessions.destroyByUser('alice')
  keep(await finish(async session => {
    session.set('user', 'x')
    await session.save()
    await session.part('prefs').logout()
    session.set('note', 'late')
  }))
  t.strictSame([...jar.keys()], ['__Host-auth'])
})

test('M11 a part that is saved alone knows what it is bound to', async t => {
  const clock = new TestClock()
  const sessions = { auth: {}, prefs: { fields: ['note'], bindTo: 'auth' } }
  const stage = await startStage(t, { clock, sessions, load: 'lazy' })
  const first = await stage.visit('', async session => { await session.login('alice'); return 'done' })
  const auth = setCookies(first)[0].split(';')[0]
  stage.app.close()
  const other = await startAlone(t, sessions)
  const login = await other.inject({ method: 'POST', url: '/login' })
  const cookie = setCookies(login)[0].split(';')[0]
  t.notOk(auth === cookie)
  const saved = await other.inject({ method: 'POST', url: '/note', headers: { cookie } })
  const note = setCookies(saved)[0].split(';')[0]
  const read = await other.inject({ url: '/', headers: { cookie: `${cookie}; ${note}` } })
  t.strictSame(read.json(), { note: 'of alice' })
  t.strictSame((await other.inject({ url: '/', headers: { cookie: note } })).json(), {})
})

async function startAlone (t: Teardown, sessions: NonNullable<SessionOptions['sessions']>) {
  const { startApp } = await import('./helpers/app.js')
  return startApp(t, { sessions }, app => {
    app.post('/login', async ({ session }) => session.login('alice'))
    app.post('/note', async ({ session }, reply) => {
      const prefs = session.part('prefs')
      await prefs.load()
      prefs.set('note', 'of alice')
      await prefs.save()
      reply.hijack()
      reply.raw.writeHead(200, { ...reply.getHeaders() as Record<string, string> })
      reply.raw.end('{}')
    })
    app.get('/', async ({ session }) => (await session.load()).data())
  })
}

test('L2 when one part cannot be written, the browser learns the new ids of the others', async t => {
  const inner = await memoryBackend()
  let broken = ''
  const backend = new Proxy(inner, {
    get (target, name) {
      const member = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return async (...args: unknown[]) => {
        if (broken.includes(String(name))) throw new Error('down')
        return member.apply(target, args)
      }
    }
  }) as SessionBackend
  const { visit } = await startBound(t, { type: 'custom', backend })
  for (const [verbs, work] of [
    ['create', (session: Session) => session.regenerate()],
    ['read', (session: Session) => session.part('auth').login('alice')]
  ] as const) {
    broken = verbs
    const failed = await visit(async session => { await work(session); return 'done' })
    t.equal(failed.statusCode, 503, verbs)
    t.strictSame(setCookies(failed).map(line => line.split('=')[0]), ['__Host-auth'])
    broken = ''
    t.equal((await visit(session => ({ principal: session.principal }))).json().principal, 'alice')
  }
  broken = 'read,remove'
  const failed = await visit(async session => { await session.part('auth').destroy(); return 'done' })
  t.equal(failed.statusCode, 503)
  broken = ''
  t.equal((await visit(session => ({ principal: session.principal }))).json().principal, null, 'ended all the same')
})
