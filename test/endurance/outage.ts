import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, LightMyRequestResponse as Response } from 'fastify'
import type { Test } from 'tap'
import type { StorePlugin } from '../../lib/define-store.js'
import { bounded } from '../../lib/testing/backend-lab.js'
import type { EngineControl } from '../engines/engine.js'
import { startApp } from '../helpers/app.js'
import { setCookies } from '../helpers/stage.js'

export interface Outages {
  store: StorePlugin
  control: EngineControl
  /** Whether what was acknowledged survives the end of the engine. */
  keeps: boolean
  /** How many requests while all is well, at least. */
  requests: number
  /** How often it fails in each way. */
  rounds: number
  /** How many requests may still fail, one after the other, until the driver has found its server again. */
  late: number
}

/** All requests of one story. */
interface Site {
  app: FastifyInstance
  requests: number
  failures: number
  /** How often the engine has forgotten everything. */
  losses: number
}

const KEEPERS = 16
const COMERS = 4
const STORE_TIMEOUT = 2
/** Seconds. A request makes a few calls of the store, so one that takes longer than this never ends. */
const NEVER = 20

/** The engine fails under load, again and again. Rejects when a promise is broken. */
export async function outages (
  t: Test, { store, control, keeps, requests, rounds, late }: Outages
): Promise<void> {
  const app = await startApp(t, { store, storeTimeout: STORE_TIMEOUT }, addRoutes)
  const site: Site = { app, requests: 0, failures: 0, losses: 0 }
  const browsers: Browser[] = [
    ...Array.from({ length: KEEPERS }, () => new Keeper(site)),
    ...Array.from({ length: COMERS }, () => new Comer(site))
  ]
  const ways = [
    { end: control.pause, again: control.resume, loses: false },
    { end: control.kill, again: control.start, loses: !keeps },
    { end: control.stop, again: control.start, loses: !keeps }
  ]
  let latest = 0
  const calm = requests / (rounds * ways.length)

  for (const browser of browsers) assert.equal(await browser.visit(), 200)
  for (let round = 0; round < rounds; round++) {
    for (const { end, again, loses } of ways) {
      const begun = site.requests
      await load(browsers, () => site.requests >= begun + calm)
      // An emulator forgets before it closes its connections.
      if (loses) site.losses++
      const ending = end()
      const before = new Map(browsers.map(browser => [browser, browser.failures]))
      await load(browsers, browser => browser.failures > before.get(browser)! + 1)
      await ending
      if (loses) site.losses++
      let isBack = false
      await Promise.all([again().then(() => { isBack = true }), load(browsers, () => isBack)])
      await recovers()
    }
  }
  t.comment(`${site.requests} requests, of which ${site.failures} failed; ${latest} after the engine was back`)

  async function recovers () {
    const before = site.failures
    while (await browsers[0].visit() === 503) assert.ok(site.failures <= before + late, 'the engine is back')
    latest = Math.max(latest, site.failures - before)
    for (const browser of browsers) assert.equal(await browser.visit(), 200, 'the first request after that')
  }
}

function addRoutes (app: FastifyInstance): void {
  app.get('/', async ({ session }) => (await session.load()).data())
  app.post('/count', async ({ session }) => {
    await session.load()
    return { n: session.update('n', n => Number(n ?? 0) + 1) }
  })
  app.post('/login', async ({ session }) => session.login('ada').then(() => ({})))
  app.post('/logout', async ({ session }) => session.logout().then(() => ({})))
}

/** Each browser sends one request after the other, until it is over for it. */
async function load (browsers: Browser[], isOver: (browser: Browser) => boolean): Promise<void> {
  await Promise.all(browsers.map(async browser => {
    while (!isOver(browser)) await browser.visit()
  }))
}

/** One browser: what holds for all responses. */
abstract class Browser {
  readonly site: Site
  failures = 0
  protected cookie = ''

  constructor (site: Site) {
    this.site = site
  }

  /** @returns the status */
  abstract visit (): Promise<number>

  protected async send (method: 'GET' | 'POST', url: string): Promise<Response> {
    const { site, cookie } = this
    const response = await bounded(site.app.inject({ method, url, headers: { cookie } }), NEVER)
    site.requests++
    const lines = setCookies(response)
    if (response.statusCode === 503) {
      assert.match(response.json().code, /^FST_SESSIONS_(STORE|CONFLICT)$/)
      assert.deepEqual(lines, [], 'a failure leaves the cookie alone')
      this.failures++
      site.failures++
      await delay(10)
    }
    assert.ok(lines.length < 2)
    if (lines.length === 1) this.cookie = lines[0].includes('Max-Age=0') ? '' : lines[0].split(';')[0]
    return response
  }
}

/** Counts in one session for as long as that can live. */
class Keeper extends Browser {
  /** What the last good response said. 0: there is no session. */
  #acknowledged = 0
  /** Requests to count, of this session: one that failed may count, even later. */
  #sent = 0
  #losses = 0

  async visit (): Promise<number> {
    const counts = this.#acknowledged === 0 || Math.random() < 0.7
    const losses = this.site.losses
    if (counts) this.#sent++
    const before = this.cookie
    const response = await (counts ? this.send('POST', '/count') : this.send('GET', '/'))
    if (response.statusCode === 503) return 503
    assert.equal(response.statusCode, 200, response.body)
    const { n } = response.json()
    const isLost = this.cookie !== before || n === undefined
    if (isLost) {
      assert.ok(this.#acknowledged === 0 || this.#losses < this.site.losses, 'what was acknowledged is kept')
      assert.equal(n, counts ? 1 : undefined)
      this.#sent = n ?? 0
    } else {
      assert.ok(n >= this.#acknowledged + Number(counts) && n <= this.#sent, `${n} is not what was counted`)
    }
    this.#acknowledged = n ?? 0
    this.#losses = losses
    return 200
  }
}

/** Logs in and out. A failure may have done what it was to do, but for the cookie. */
class Comer extends Browser {
  async visit (): Promise<number> {
    const before = this.cookie
    const isLogin = before === '' || Math.random() < 0.6
    const { statusCode } = await this.send('POST', isLogin ? '/login' : '/logout')
    if (statusCode === 503) return 503
    // The session of before has ended, by a request that seemed to fail.
    if (statusCode === 409) return this.visit()
    assert.equal(statusCode, 200)
    assert.ok(!isLogin || (this.cookie !== '' && this.cookie !== before), 'a login comes with a new id')
    return 200
  }
}
