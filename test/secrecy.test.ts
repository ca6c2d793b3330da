import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import { test } from 'tap'
import type { SessionBackend, SessionOptions } from '../lib/index.js'
import type { Ear } from './helpers/ear.js'
import type { Script, Stage } from './helpers/stage.js'
import { requireFresh } from '../lib/index.js'
import { sha256 } from '../lib/base/id.js'
import { TestClock } from '../lib/testing/clock.js'
import { startApp } from './helpers/app.js'
import { around, memoryBackend } from './helpers/backends.js'
import { channels, openEar, spoken } from './helpers/ear.js'
import { setCookies, startStage } from './helpers/stage.js'

/** Where a story takes place. */
interface Scene {
  t: Test
  ear: Ear
  app: Stage['app']
  clock: TestClock
  memory: SessionBackend
  /** From here on this verb fails, as a driver does that quotes what it was given. */
  fail (verb: string | null): void
  /** As that of a stage, with all that leaves noted. @returns the cookies that the browser has then */
  visit (cookies: string, script: Script): Promise<string>
}

async function open (
  t: Test, ear: Ear, options: (backend: SessionBackend) => SessionOptions
): Promise<Scene> {
  const clock = new TestClock()
  // Its clock stands still, so that it is the core that finds sessions expired.
  const memory = await memoryBackend(new TestClock(clock.now()))
  let failing: string | null = null
  const noting: SessionBackend = {
    ...memory,
    create (key, record, index) {
      ear.hide(Buffer.from(record.value).toString('base64url'))
      return memory.create(key, record, index)
    }
  }
  const backend = around(noting, async (verb, call) => {
    if (verb !== failing) return call()
    const quoted = JSON.stringify({ key: ear.secret('key'), data: ear.secret('quoted') })
    throw Object.assign(new Error(`${verb} failed: ${quoted}`), { code: 'EDRIVER', command: [quoted] })
  })
  const complete = { clock, metadata: true, maxSize: 10_000, ...options(backend) }
  const { app, visit } = await startStage(t, complete, { logger: ear.logger })
  return {
    t,
    ear,
    clock,
    memory,
    app,
    fail (verb) { failing = verb },
    async visit (cookies, script) {
      const headers = { 'user-agent': ear.secret('agent') }
      const response = await visit(cookies, async (session, request, reply) => {
        ear.note(inspect(session))
        return script(session, request, reply)
      }, { headers })
      ear.response(response)
      return after(cookies, setCookies(response))
    }
  }
}

/** A Cookie header, after these lines of Set-Cookie. */
function after (cookies: string, lines: string[]): string {
  const jar = new Map(cookies === '' ? [] : cookies.split('; ').map(pair => [pair.split('=')[0], pair]))
  for (const line of lines) {
    const pair = line.split(';')[0]
    const name = pair.split('=')[0]
    if (pair.endsWith('=')) jar.delete(name)
    else jar.set(name, pair)
  }
  return [...jar.values()].join('; ')
}

/** Data for each of several sessions. */
const filling = (ear: Ear): Script => session => {
  session.set('card', ear.secret('card'))
  session.set('deep', { list: [ear.secret('deep')] })
  session.set('note', ear.secret('note'))
}

/** A session from its beginning to its end. */
async function life ({ ear, visit, clock }: Scene): Promise<string> {
  const fill = filling(ear)
  let cookies = await visit('', fill)
  cookies = await visit(cookies, session => { ear.hide(String(session.get('card'))) })
  cookies = await visit(cookies, fill)
  cookies = await visit(cookies, session => session.regenerate())
  cookies = await visit(cookies, session => session.login(ear.secret('principal')))
  cookies = await visit(cookies, session => session.remember())
  const before = cookies
  clock.advance(100)
  cookies = await visit(cookies, session => session.touch())
  cookies = await visit(cookies, fill)
  clock.advance(100)
  await visit(before, fill)
  cookies = await visit(cookies, fill)
  await visit(cookies, session => session.logout())
  await visit(cookies, fill)
  return visit('', async (session, request, reply) => {
    await session.login(ear.secret('principal'))
    await fill(session, request, reply)
  })
}

/** Cookies that are none, or none any more. */
async function forgeries ({ ear, visit, clock }: Scene, cookies: string): Promise<void> {
  const stranger = await visit('', filling(ear))
  const other = (text: string) => text.replace(/.$/, last => last === 'A' ? 'Q' : 'A')
  const forged = [
    after(stranger, [cookies.split('; ').at(-1)!]),
    other(cookies),
    cookies.replace(/=.*?([.;]|$)/, `=${ear.secret('forged').padEnd(43, 'x')}$1`),
    cookies.replace(/=/, `=${ear.secret('malformed')} `),
    cookies.replace(/=./, '=!'),
    cookies.replace(/=[^.;]*/, `=${randomBytes(32).toString('base64url')}`)
  ]
  for (const presented of forged) {
    ear.hide(...presented.split('; ').flatMap(spoken))
    await visit(presented, session => { session.set('n', ear.secret('n')) })
  }
  clock.advance(50_000)
  await visit(cookies, session => { session.set('n', ear.secret('n')) })
}

/** Requests that meet others. */
async function races ({ ear, visit }: Scene): Promise<void> {
  const cookies = await visit('', session => { session.set('n', ear.secret('n')) })
  await visit(cookies, async session => {
    session.set('mine', ear.secret('mine'))
    await visit(cookies, other => { other.set('theirs', ear.secret('theirs')) })
  })
  await visit(cookies, async session => {
    await visit(cookies, other => other.logout())
    session.set('mine', ear.secret('mine'))
    await session.login(ear.secret('principal'))
  })
}

/** What is refused, and comes too late. */
async function mistakes ({ ear, visit }: Scene): Promise<void> {
  const cookies = await visit('', session => { session.set('n', ear.secret('n')) })
  const scripts: Script[] = [
    session => { session.set('large', ear.secret('large').repeat(1000)) },
    session => { session.set('large', ear.secret('large').repeat(150)) },
    session => { session.set('uncarriable', { deep: [ear.secret('uncarriable'), 1n] }) },
    session => { Object.assign(session, { id: ear.secret('reserved') }) },
    session => { session.part('auth').set('n', ear.secret('foreign')) },
    session => { session.options({ domain: 'not a host' }) },
    async (session, _request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200).end()
      await ear.listen(() => session.set('late', ear.secret('late')))
      await ear.listen(() => session.login(ear.secret('principal')))
    },
    async (session, _request, reply) => {
      await session.destroy()
      reply.hijack()
      reply.raw.writeHead(200)
      await ear.listen(() => session.save())
      reply.raw.end()
    },
    session => {
      session.set('dropped', ear.secret('dropped'))
      throw new Error('the handler failed')
    }
  ]
  for (const script of scripts) {
    await visit(cookies, script)
    await visit('', script)
  }
}

async function damages ({ ear, visit, memory, clock, fail }: Scene): Promise<void> {
  const fill: Script = session => { session.set('card', ear.secret('card')) }
  const cookies = await visit('', fill)
  for (const pair of cookies.split('; ')) {
    const key = sha256(spoken(pair)[1])
    const stored = await memory.read(key)
    if (stored === null) continue
    const value = `{"data":{"card":"${ear.secret('corrupt')}"`
    const index = { principal: null, createdAt: clock.now() }
    await memory.update(key, { ...stored, value }, index, stored.version)
  }
  await visit(cookies, fill)
  for (const verb of ['read', 'create', 'update', 'touch', 'remove']) {
    const whole = await visit('', fill)
    clock.advance(100)
    fail(verb)
    const meets: Record<string, Script> = {
      create: session => session.login(ear.secret('principal')),
      touch: session => session.touch(),
      remove: session => session.logout()
    }
    await visit(whole, meets[verb] ?? fill)
    fail(null)
  }
}

async function users ({ ear, app, clock, visit }: Scene): Promise<void> {
  const user = ear.secret('principal')
  // Each later than the one before: at the same instant chance decides which of them is one too many.
  const login: Script = async session => {
    clock.advance(1)
    await session.login(user)
  }
  await visit('', login)
  const last = await visit('', login)
  await visit('', login)
  await visit('', async (_session, { server: { sessions } }) => {
    const listed = await ear.listen(() => sessions.listByUser(user)) ?? []
    for (const { handle } of listed.slice(1)) await ear.listen(() => sessions.destroy(handle))
    await ear.listen(() => sessions.destroyByUser(user))
    await ear.listen(() => sessions.count())
  })
  const found = await ear.listen(() => app.sessions.fromCookie(last))
  await ear.listen(() => found!.login(user))
  await ear.listen(() => found!.save())
}

const secret = (ear: Ear) => ear.secret('secret').padEnd(40, '-')

/** Routes that restrict the session, or use it wrongly. */
async function routes (t: Test, ear: Ear): Promise<void> {
  const write: Script = session => { session.set('card', ear.secret('card')) }
  const app = await startApp(t, { secret: secret(ear) }, app => {
    app.get('/', async (request, reply) => write(await request.session.load(), request, reply))
    app.get('/early', async (request, reply) => write(request.session, request, reply))
    for (const [url, session] of [['/disabled', false], ['/read-only', { load: 'eager', readOnly: true }]] as const) {
      app.get(url, { config: { session } }, async (request, reply) => write(request.session, request, reply))
    }
    app.get('/fresh', { preHandler: requireFresh(60) }, async () => 'fresh')
  }, { logger: ear.logger })
  for (const url of ['/', '/early', '/disabled', '/read-only', '/fresh']) {
    ear.response(await app.inject(url))
    ear.response(await app.inject({ url, headers: { host: 'shop.example' } }))
  }
  const nowhere = await startStage(t, { store: { type: 'null' } }, { logger: ear.logger })
  ear.response(await nowhere.visit('', write))
}

/** Options that are wrong. */
async function boots (t: Test, ear: Ear): Promise<void> {
  const url = `redis://:${ear.secret('password')}@127.0.0.1`
  const short = ear.secret('short').slice(0, 21)
  ear.hide(short)
  const wrong = [
    { secret: short },
    { generateId: () => short },
    { secret: [secret(ear), 7] },
    { secret: secret(ear), secrets: secret(ear) },
    { store: url },
    { store: { type: 'redis', url, nodes: [url] } },
    { store: { type: 'redis', url: [url] } },
    { store: { type: 'dynamodb', credentials: ear.secret('credentials') } },
    { cookie: { sameSite: 'none', secure: false }, secret: secret(ear) }
  ]
  for (const options of wrong) {
    const thrown = await ear.listen(async () => {
      await startApp(t, options as SessionOptions, () => {}, { logger: ear.logger })
      return 'started'
    })
    t.equal(thrown, undefined, `${Object.keys(options)}`)
  }
}

const kinds: Record<string, (ear: Ear, backend: SessionBackend) => SessionOptions> = {
  plain: (_ear, backend) => ({ store: { type: 'custom', backend } }),
  signed: (ear, backend) => ({
    store: { type: 'custom', backend }, secret: secret(ear), maxPerUser: 2, renewInterval: 50
  }),
  encrypted: (ear, backend) => ({
    store: { type: 'custom', backend },
    secret: secret(ear),
    encryption: true,
    onCorrupt: 'throw',
    maxPerUser: 2,
    onMaxPerUser: 'refuse'
  }),
  sealed: ear => ({ store: { type: 'cookie' }, secret: secret(ear) }),
  several: (ear, backend) => ({
    secret: secret(ear),
    sessions: {
      auth: { store: { type: 'custom', backend }, fields: ['principal', 'card'] },
      basket: { store: { type: 'cookie' }, fields: ['deep', 'n'] },
      rest: { store: { type: 'memory' }, bindTo: 'auth' }
    }
  })
}

const texts = [
  'session created', 'session rotated', 'session destroyed', 'session cookie rejected', 'session expired',
  'session corrupt', 'session conflict', 'session gone', 'session store failed', 'session cookie not set'
]
const reasons = [
  'malformed', 'signature', 'unknown', 'expired', 'renewed', 'bound', 'renewal', 'read', 'create', 'update', 'touch',
  'remove', 'maxPerUser', 'destroy', 'destroyByUser', 'headers sent', 'plain http'
]

test('K10 D17 no id, token, signature, secret or data in what is logged, published, thrown or sent', async t => {
  const ear = openEar(t)
  for (const [kind, options] of Object.entries(kinds)) {
    const scene = await open(t, ear, backend => options(ear, backend))
    const cookies = await life(scene)
    await forgeries(scene, cookies)
    for (const story of [races, mistakes, damages, users]) await story(scene)
    t.pass(kind)
  }
  await routes(t, ear)
  await boots(t, ear)

  t.strictSame([...channels, ...texts, ...reasons].filter(name => !ear.heard.has(name)), [], 'all has happened')
  const codes = ear.codes()
  t.strictSame([
    'OPTION', 'NOT_LOADED', 'RESERVED_NAME', 'VALUE', 'TOO_LARGE', 'COOKIE_TOO_LARGE', 'DISABLED', 'READ_ONLY', 'ID',
    'NO_STORE', 'FOREIGN_FIELD', 'HEADERS_SENT', 'CORRUPT', 'STORE', 'GONE', 'TOO_MANY', 'ABILITY', 'DETACHED', 'NOT_FRESH'
  ].filter(code => !codes.has(`FST_SESSIONS_${code}`)), [], 'all that can go wrong went wrong')
  const { secrets, leaked } = ear.verdict()
  t.ok(secrets > 300, `${secrets} secrets`)
  t.strictSame(leaked, [])
})
