import Fastify from 'fastify'
import { test } from 'tap'
import { createClient } from '../../lib/testing/client.js'

/** Echoes what it was asked, and sets the cookies of the query. */
function echo () {
  const app = Fastify({ trustProxy: true })
  app.all('/*', async (request, reply) => {
    const { set } = request.query as { set?: string | string[] }
    if (set !== undefined) reply.header('set-cookie', set)
    const { cookie, authorization } = request.headers
    return { cookie, authorization, host: request.host, protocol: request.protocol, method: request.method }
  })
  return app
}

const setting = (...lines: string[]) => '/?' + lines.map(line => `set=${encodeURIComponent(line)}`).join('&')

test('T1 a client keeps what the server sets, and sends it back', async t => {
  const client = createClient(echo())
  t.equal(await client.cookies(), '')
  t.strictSame((await client.inject('/')).json(), { host: 'localhost', protocol: 'http', method: 'GET' })
  await client.inject(setting('a=1', 'b=2; HttpOnly'))
  t.equal(await client.cookies(), 'a=1; b=2')
  t.equal((await client.inject({ method: 'POST', url: '/x', headers: { authorization: 'me' } })).json().cookie, 'a=1; b=2')
  const response = await client.inject({ path: '/x', headers: { authorization: 'me' } } as never)
  t.match(response.json(), { cookie: 'a=1; b=2', authorization: 'me' })
  await client.inject(setting('a=; Max-Age=0'))
  t.equal(await client.cookies(), 'b=2')
  await client.inject(setting('b=3; Expires=Thu, 01 Jan 1970 00:00:00 GMT'))
  t.equal(await client.cookies(), '')
  await client.inject(setting('c=1'))
  await client.clear()
  t.equal(await client.cookies(), '')
})

test('T1 a client obeys path, domain and secure, and the rules of prefixes', async t => {
  const client = createClient(echo(), { origin: 'http://shop.test' })
  t.match((await client.inject('/')).json(), { host: 'shop.test', protocol: 'http' })
  await client.inject(setting('path=1; Path=/app', 'foreign=1; Domain=other.test', 'secure=1; Secure'))
  t.equal(await client.cookies(), '')
  t.equal(await client.cookies('/app/x'), 'path=1')
  t.equal(await client.cookies('/application'), '')

  const secure = createClient(echo(), { origin: 'https://shop.test' })
  t.match((await secure.inject('/')).json(), { host: 'shop.test', protocol: 'https' })
  await secure.inject(setting('secure=1; Secure', '__Host-a=1; Secure; Path=/', 'sub=1; Domain=shop.test'))
  t.equal(await secure.cookies(), 'secure=1; __Host-a=1; sub=1')
  await secure.clear()
  await secure.inject(setting('__Host-b=1; Secure; Path=/app', '__Host-c=1; Path=/')).catch(() => {})
  t.equal(await secure.cookies('/app'), '')
})

test('T1 localhost counts as secure', async t => {
  const client = createClient(echo())
  await client.inject(setting('__Host-a=1; Secure; Path=/'))
  t.equal(await client.cookies(), '__Host-a=1')
})
