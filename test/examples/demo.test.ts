import { readFileSync, statSync } from 'node:fs'
import { test } from 'tap'
import { noOwnRedis, startOwnRedis } from '../engines/redis.js'
import { EndedError, read, startDemo, visitor } from './demo-process.js'

const stores = [
  { args: [], store: 'files' },
  { args: ['--store', 'sqlite'], store: 'SQLite' },
  { args: ['--store', 'redis'], store: 'Redis', skip: noOwnRedis }
]

for (const { args, store, skip } of stores) {
  test(`a log-in survives a restart, and nothing survives a log-out: ${store}`, { skip }, async t => {
    const directory = t.testdir({})
    const env: Record<string, string> = store === 'Redis' ? { REDIS_URL: (await startOwnRedis(t)).url } : {}
    let demo = await startDemo(t, directory, args, env)
    const ada = visitor()
    const look = async (browser = ada) => read((await browser.get(demo.url)).text)

    t.match(await look(), { visits: 1, greeting: 'Hello', principal: 'none', store })
    const { handle } = await look()
    const anonymous = await ada.cookies(demo.url)
    t.match(anonymous, /^__Host-session=/)

    const login = await ada.post(`${demo.url}/login`, { name: ' Ada ' })
    t.equal(login.status, 303)
    t.notOk(login.headers.getSetCookie()[0].includes('Max-Age'), 'the cookie ends with the browser')
    await ada.post(`${demo.url}/cart/add`, { item: 'Coffee' })
    await ada.post(`${demo.url}/cart/add`, { item: 'Coffee' })
    await ada.post(`${demo.url}/cart/add`, { item: 'Pears' })
    await ada.post(`${demo.url}/cart/remove`, { item: 'Coffee' })
    const before = await look()
    t.match(before, { visits: 3, greeting: 'Hello, Ada', principal: 'Ada' })
    t.strictSame(before.cart, { Bread: 0, Coffee: 1, Pears: 1, Postcard: 0 })
    t.not(before.handle, handle, 'the log-in changed the id')
    t.strictSame(before.recent, [
      'GET /', 'POST /cart/remove', 'POST /cart/add', 'POST /cart/add', 'POST /cart/add', 'POST /login',
      'GET /', 'GET /'
    ])
    t.equal((await fetchWith(anonymous)).principal, 'none', 'the cookie from before the log-in is worth nothing')

    t.equal(await demo.stop(), 0, 'it ends in good order')
    demo = await startDemo(t, directory, args, env)
    t.match(await look(), { visits: 4, principal: 'Ada', handle: before.handle, cart: before.cart })

    const loggedIn = await ada.cookies(demo.url)
    t.equal((await ada.post(`${demo.url}/logout`)).status, 303)
    t.equal(await ada.cookies(demo.url), '', 'the cookie is gone')
    t.match(await fetchWith(loggedIn), { visits: 1, principal: 'none', cart: { Coffee: 0, Pears: 0 } },
      'the old cookie, replayed, is a stranger')
    t.match(await look(), { visits: 1, principal: 'none' })
    t.equal(await demo.stop('SIGINT'), 0)

    async function fetchWith (cookie: string) {
      const response = await fetch(demo.url, { headers: { cookie } })
      return read(await response.text())
    }
  })
}

test('the secret is made once, for its owner only, and not at all when the environment has one', async t => {
  const [own, given] = [t.testdir({ own: {}, given: {} })].flatMap(path => [`${path}/own`, `${path}/given`])
  const secret = `${own}/.sessions/secret`
  await (await startDemo(t, own, ['--store', 'memory'])).stop()
  const made = readFileSync(secret, 'utf8')
  t.match(made, /^[\w-]{43}$/)
  t.equal(statSync(secret).mode & 0o777, 0o600)
  await (await startDemo(t, own, [], { DEMO_STORE: 'memory' })).stop()
  t.equal(readFileSync(secret, 'utf8'), made)

  const env = { SESSION_SECRET: 'a secret from the environment, long enough' }
  await (await startDemo(t, given, ['--store', 'memory'], env)).stop()
  t.throws(() => statSync(`${given}/.sessions/secret`), { code: 'ENOENT' })
})

test('what is wrong on the command line is said, and nothing starts', async t => {
  const start = (...args: string[]) => startDemo(t, t.testdirName, args)
  t.testdir({})
  for (const [args, said] of [
    [['--store', 'papyrus'], /unknown store "papyrus"\nusage: npm run demo/],
    [['--store', 'postgres'], /needs POSTGRES_URL/],
    [['--port', 'eighty'], /--port takes a port number/],
    [['--shop'], /Unknown option '--shop'.*\nusage/]
  ] as const) {
    const error = await start(...args).then(() => null, error => error)
    t.type(error, EndedError)
    t.match(error, { code: 1, message: said })
    t.notMatch(error.message, /\n\s+at /, 'no stack')
  }
})
