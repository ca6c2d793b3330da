import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import t, { before, test } from 'tap'
import { buildDemo } from '../../examples/demo/app.js'
import { locate, missing } from '../engines/engine.js'

const skip = missing(['chromium'])
const month = 30 * 86400

let browser: Browser
before(async () => {
  if (skip) return
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  browser = await chromium.launch({ executablePath: locate('chromium'), args })
})
t.teardown(() => browser?.close())

interface Teardown { teardown (end: () => unknown): void }

async function open (t: Teardown, host = 'localhost') {
  const app = await buildDemo({
    store: { type: 'memory' }, storeName: 'memory', secret: 'a secret of the tests, thirty-two bytes or more'
  })
  const context = await browser.newContext()
  t.teardown(async () => {
    await context.close()
    await app.close()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const url = `http://${host}:${(app.server.address() as AddressInfo).port}/`
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('console', message => { if (message.type() === 'error') complaints.push(message.text()) })
  page.on('pageerror', error => { complaints.push(error.message) })
  await page.goto(url)
  return { url, page, context, complaints }
}

/** A browser of its own. */
async function visitorAt (t: Teardown, url: string): Promise<Page> {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const page = await context.newPage()
  await page.goto(url)
  return page
}

async function logIn (page: Page, name = 'Ada') {
  await page.getByLabel('Your name').fill(name)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('heading', { name: `Hello, ${name}.` }).waitFor()
}

async function sessionCookie (context: BrowserContext) {
  const cookies = await context.cookies()
  if (cookies.length > 1) throw new Error('more than one cookie')
  return cookies[0]
}

for (const host of ['localhost', '127.0.0.1']) {
  test(`Chromium keeps the __Host- cookie of http://${host}`, { skip }, async t => {
    const { page, context, complaints } = await open(t, host)
    const cookie = await sessionCookie(context)
    t.match(cookie, {
      name: '__Host-session', domain: host, path: '/', httpOnly: true, secure: true, sameSite: 'Lax', expires: -1
    })
    t.equal(await page.evaluate('document.cookie'), '', 'scripts do not see it')
    await page.reload()
    t.match(await page.locator('.lead').innerText(), 'This is visit 2 ', 'and it comes back')

    await logIn(page)
    const loggedIn = await sessionCookie(context)
    t.not(loggedIn.value, cookie.value, 'the log-in changed the id')
    await page.getByRole('button', { name: 'Log out', exact: true }).click()
    await page.getByRole('heading', { name: 'Log in' }).waitFor()
    await context.addCookies([loggedIn])
    await page.goto(page.url())
    t.ok(await page.getByRole('heading', { name: 'Log in' }).isVisible(), 'the old cookie is a stranger')
    t.strictSame(complaints, [], 'nothing that the content security policy refuses')
  })
}

test('keep me logged in: the cookie outlives the browser', { skip }, async t => {
  const { page, context } = await open(t)
  await page.getByLabel('Keep me logged in').check()
  await logIn(page)
  const { expires } = await sessionCookie(context)
  const left = expires - Date.now() / 1000
  t.ok(left > month - 60 && left <= month, `${left} seconds`)
})

test('a browser ends the log-in of another, and all others', { skip }, async t => {
  const { url, page } = await open(t)
  await logIn(page)
  const other = await visitorAt(t, url)
  await logIn(other)
  await page.reload()
  const devices = page.getByRole('region', { name: 'Where you are logged in' })
  t.equal(await devices.getByRole('listitem').count(), 2)
  t.match(await devices.getByRole('listitem').filter({ hasText: 'this one' }).innerText(), /^Chrome on Linux/)
  await devices.getByRole('button', { name: 'End: Chrome on Linux' }).click()
  await page.waitForURL(`${url}#devices`)
  t.equal(await devices.getByRole('listitem').count(), 1)
  t.ok(await devices.getByRole('button', { name: 'Log out everywhere else' }).isDisabled())
  await other.reload()
  t.ok(await other.getByRole('heading', { name: 'Log in' }).isVisible(), 'the ended one is out')

  await logIn(other)
  const third = await visitorAt(t, url)
  await logIn(third)
  await page.reload()
  await devices.getByRole('button', { name: 'Log out everywhere else' }).click()
  await devices.getByRole('listitem').nth(1).waitFor({ state: 'detached' })
  for (const ended of [other, third]) {
    await ended.reload()
    t.ok(await ended.getByRole('heading', { name: 'Log in' }).isVisible())
  }
  await page.reload()
  t.ok(await page.getByRole('heading', { name: 'Hello, Ada.' }).isVisible(), 'and this one stays')
})

test('the cart with the keyboard alone', { skip }, async t => {
  const { page } = await open(t)
  t.ok(await page.getByRole('button', { name: 'Remove one: Pears' }).isDisabled())
  await page.getByRole('button', { name: 'Add one: Pears' }).focus()
  await page.keyboard.press('Enter')
  await page.getByText('1 item in the cart.').waitFor()
  await page.getByRole('button', { name: 'Remove one: Pears' }).focus()
  await page.keyboard.press('Space')
  await page.getByText('The cart is empty.').waitFor()
})

test('a form on another site reaches neither the session nor its end', { skip }, async t => {
  const { url, page, context } = await open(t)
  await logIn(page)
  for (const { host, comesWithCookie } of [
    { host: '127.0.0.1', comesWithCookie: false },
    { host: 'localhost', comesWithCookie: true }
  ]) {
    await page.goto(await strangerAt(t, host, `<form method="post" action="${url}logout"><button>Win</button></form>`))
    const [response] = await Promise.all([
      page.waitForResponse(`${url}logout`), page.getByRole('button').click()
    ])
    t.equal('cookie' in await response.request().allHeaders(), comesWithCookie, `SameSite=Lax and ${host}`)
    t.equal(response.status(), 403)
  }
  await page.goto(url)
  t.ok(await page.getByRole('button', { name: 'Log out', exact: true }).isVisible(), 'still logged in')
  t.ok(await sessionCookie(context))
})

test('the page fits a phone, with long and foreign names too', { skip }, async t => {
  const { page } = await open(t)
  await logIn(page, 'W'.repeat(40))
  for (const width of [320, 390, 1100]) {
    await page.setViewportSize({ width, height: 800 })
    t.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${width} pixels`)
  }
  const small = await page.evaluate(`[...document.querySelectorAll('button')]
    .filter(button => button.offsetHeight < 44 || button.offsetWidth < 44).map(button => button.ariaLabel)`)
  t.strictSame(small, [], 'every button can be hit with a finger')
})

async function strangerAt (t: Teardown, host: string, body: string): Promise<string> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://${host}:${(server.address() as AddressInfo).port}/`
}
