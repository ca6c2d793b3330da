import { test } from 'tap'
import type { DemoOptions } from '../../examples/demo/app.js'
import { buildDemo } from '../../examples/demo/app.js'
import { deviceName } from '../../examples/demo/device-name.js'
import { settings } from '../../examples/demo/settings.js'
import { createClient } from '../../lib/testing/client.js'
import type { Client } from '../../lib/testing/client.js'
import { gated, memoryBackend } from '../helpers/backends.js'
import { read } from './demo-process.js'

const secret = 'a secret of the tests, thirty-two bytes or more'
const form = { 'content-type': 'application/x-www-form-urlencoded' }

async function open (t: { teardown (end: () => unknown): void }, store: DemoOptions['store'] = { type: 'memory' }) {
  const app = await buildDemo({ store, storeName: 'memory', secret })
  t.teardown(() => app.close())
  const client = createClient(app)
  return {
    app,
    client,
    get: (url = '/') => client.inject(url),
    post: (url: string, payload = '', headers: Record<string, string> = {}) =>
      client.inject({ method: 'POST', url, payload, headers: { ...form, ...headers } })
  }
}

test('what a visitor typed is text on the page', async t => {
  const { get, post } = await open(t)
  await post('/login', new URLSearchParams({ name: '<script>"\'&' }).toString())
  const { body } = await get()
  t.notMatch(body, '<script')
  t.match(body, '<bdi>&lt;script&gt;&quot;&#39;&amp;</bdi>')
})

test('clicks at the same time all count', async t => {
  const backend = gated(await memoryBackend())
  const { get, post } = await open(t, { type: 'custom', backend })
  await get()
  for (const [path, expected] of [['/cart/add', 3], ['/cart/remove', 0]] as const) {
    backend.held.add('update')
    const clicks = [post(path, 'item=Bread'), post(path, 'item=Bread'), post(path, 'item=Bread')]
    const writes = [await backend.next(), await backend.next(), await backend.next()]
    backend.held.clear()
    for (const write of writes) await write.release()
    await Promise.all(clicks)
    t.equal(read((await get()).body).cart.Bread, expected, path)
  }
})

test('each log-in is in the list of its user, and of nobody else, who could end it', async t => {
  const { app, get, post } = await open(t)
  const [phone, mallory] = [createClient(app), createClient(app)]
  const send = (client: Client, url: string, payload: string, agent = '') =>
    client.inject({ method: 'POST', url, payload, headers: { ...form, 'user-agent': agent } })
  await post('/login', 'name=Ada', { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0' })
  t.match((await get()).body, /<button disabled>Log out everywhere else/)
  await send(phone, '/login', 'name=Ada', '<b>curl</b>')
  await send(mallory, '/login', 'name=Mallory')

  const { body } = await get()
  t.match(body, /<strong>Firefox on Linux<\/strong>\s+<em>this one<\/em>/)
  t.match(body, '<strong>&lt;b&gt;curl&lt;/b&gt;</strong>')
  const devices = [...body.matchAll(/name="device" value="([\w-]{43})"/g)].map(([, handle]) => handle)
  t.equal(devices.length, 1, 'the other one')
  t.notMatch((await mallory.inject('/')).body, devices[0])

  await send(mallory, '/devices/end', `device=${devices[0]}`)
  t.equal(read((await phone.inject('/')).body).principal, 'Ada', 'a handle alone ends nothing')
  await send(createClient(app), '/devices/end', `device=${devices[0]}`)
  await send(createClient(app), '/devices/end-others', '')
  t.equal((await post('/devices/end', `device=${devices[0]}`)).headers.location, '/#devices')
  t.equal(read((await phone.inject('/')).body).principal, 'none')
  t.equal(read((await get()).body).principal, 'Ada')

  await send(phone, '/login', 'name=Ada')
  await post('/devices/end-others')
  t.equal(read((await phone.inject('/')).body).principal, 'none')
  t.equal(read((await mallory.inject('/')).body).principal, 'Mallory')
})

test('what browsers are called', async t => {
  const webkit = 'AppleWebKit/537.36 (KHTML, like Gecko)'
  for (const [userAgent, name] of [
    [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${webkit} Chrome/140.0.0.0 Safari/537.36`, 'Chrome on Windows'],
    [`Mozilla/5.0 (Windows NT 10.0) ${webkit} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0`, 'Edge on Windows'],
    [`Mozilla/5.0 (Linux; Android 10; K) ${webkit} Chrome/140.0.0.0 Mobile Safari/537.36`, 'Chrome on Android'],
    ['Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) Version/18.6 Mobile/1 Safari/604.1', 'Safari on iPhone'],
    ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.6 Safari/605.1.15', 'Safari on macOS'],
    ['curl/8.5.0', 'curl/8.5.0'], ['', 'An unknown browser'], ['x'.repeat(100), 'x'.repeat(60)]
  ]) t.equal(deviceName(userAgent), name)
})

test('forms of other origins are refused, and change nothing', async t => {
  const { get, post } = await open(t)
  await post('/login', 'name=Ada')
  for (const origin of ['http://evil.test', 'http://localhost:4000', 'null']) {
    const refused = await post('/logout', '', { origin })
    t.equal(refused.statusCode, 403, origin)
    t.notOk('set-cookie' in refused.headers)
  }
  t.equal(read((await get()).body).principal, 'Ada')
  t.equal((await post('/logout', '', { origin: 'http://localhost' })).statusCode, 303)
})

test('a form that no page of ours sends is an error page', async t => {
  const { post, client } = await open(t)
  for (const [url, payload] of [
    ['/login', ''], ['/login', 'name=+'], ['/login', `name=${'x'.repeat(41)}`], ['/cart/add', 'item=__proto__']
  ]) {
    const { statusCode, body, headers } = await post(url, payload)
    t.equal(statusCode, 400)
    t.match(body, 'Error 400')
    t.notOk('set-cookie' in headers)
  }
  const json = await client.inject({ method: 'POST', url: '/login', payload: { name: 'Ada' } })
  t.equal(json.statusCode, 415)
})

test('the style sheet and missing pages have no session', async t => {
  const backend = gated(await memoryBackend())
  const { get } = await open(t, { type: 'custom', backend })
  await get()
  backend.held.add('read').add('update').add('create')
  const style = await get('/style.css')
  t.match(style.headers, { 'content-type': 'text/css; charset=utf-8', vary: undefined })
  const missing = await get('/<b>')
  t.equal(missing.statusCode, 404)
  t.notMatch(missing.body, '<b>')
  t.notOk('set-cookie' in missing.headers)
})

test('while the store fails the page says so, and the log-in is not lost', async t => {
  const backend = gated(await memoryBackend())
  const { get, post, client } = await open(t, { type: 'custom', backend })
  await post('/login', 'name=Ada&remember=yes')
  const before = await client.cookies()
  backend.held.add('read')
  const response = get()
  ;(await backend.next()).fail(new Error('connection refused'))
  const { statusCode, body, headers } = await response
  t.equal(statusCode, 503)
  t.match(body, 'Your log-in is not lost')
  t.notMatch(body, 'connection refused')
  t.notOk('set-cookie' in headers)
  t.equal(await client.cookies(), before)
  backend.held.clear()
  t.equal(read((await get()).body).principal, 'Ada')
})

test('a request that is slower than the log-out shows an empty session', async t => {
  const backend = gated(await memoryBackend())
  const { get, post } = await open(t, { type: 'custom', backend })
  await post('/login', 'name=Ada')
  backend.held.add('update')
  const slow = get()
  const write = await backend.next('update')
  await post('/logout')
  await write.release()
  const { statusCode, body, headers } = await slow
  t.equal(statusCode, 200)
  t.match(read(body), { handle: 'none', principal: 'none', visits: 0 })
  t.notOk('set-cookie' in headers)
  t.match(read((await get()).body), { visits: 1, principal: 'none' })
})

test('every store has its options', async t => {
  t.testdir({})
  const home = process.cwd()
  process.chdir(t.testdirName)
  t.teardown(() => process.chdir(home))
  const env = { POSTGRES_URL: 'postgres://a', MYSQL_URL: 'mysql://b', REDIS_URL: '', SESSION_SECRET: secret }
  const chosen = async (name: string) => (await settings(['--store', name], env)).store
  t.strictSame(await chosen('redis'), { type: 'redis', url: 'redis://127.0.0.1:6379' })
  t.strictSame(await chosen('postgres'),
    { type: 'sql', dialect: 'postgres', url: 'postgres://a', createTable: true })
  t.strictSame(await chosen('mysql'), { type: 'sql', dialect: 'mysql', url: 'mysql://b', createTable: true })
  t.match(await settings([], {}), { port: 3000, store: { type: 'file', directory: '.sessions' } })
})
