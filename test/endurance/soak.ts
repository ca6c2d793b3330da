import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import type { SessionOptions } from '../../lib/index.js'
import sessions from '../../lib/index.js'
import { TestClock } from '../../lib/testing/clock.js'
import { setCookies } from '../helpers/stage.js'
import { heap } from './heap.js'

/**
 * A process that answers as many requests as the first argument says, of browsers that come, stay for a while
 * and never come back. It prints the bytes in use after each tenth of them, and how many sessions are alive.
 */
const requests = Number(process.argv[2])
const options: SessionOptions = JSON.parse(process.argv[3])
const BROWSERS = 200
const SAMPLES = 10
/** So many sessions live at most: all that were begun within their idle timeout. */
const IDLE = 60

const clock = new TestClock()
const app = Fastify()
await app.register(cookie)
await app.register(sessions, { ...options, clock, idleTimeout: IDLE, maxPerUser: 5 })
app.post<{ Params: { user: string } }>('/login/:user', async ({ session, params }) => session.login(params.user))
app.post('/write', async ({ session }) => {
  await session.load()
  session.update('seen', seen => [...(seen as number[] ?? []), clock.now()].slice(-20))
})
app.post('/logout', async ({ session }) => session.logout())

const cookies: string[] = Array(BROWSERS).fill('')
const samples: number[] = []
for (let i = 1; i <= requests; i++) {
  const browser = i % BROWSERS
  const url = ['/login/user' + (i % 50), '/write', '/write', '/write', '/logout'][Math.floor(i / BROWSERS) % 7] ?? '/write'
  // Some never come back.
  if (i % 3 === 0) cookies[browser] = ''
  const response = await app.inject({ method: 'POST', url, headers: { cookie: cookies[browser] } })
  if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode} ${response.body}`)
  for (const line of setCookies(response)) cookies[browser] = line.includes('Max-Age=0') ? '' : line.split(';')[0]
  clock.advance(0.05)
  if (i % (requests / SAMPLES) === 0) {
    clock.advance(IDLE)
    await app.sessions.sweep()
    const alive = await app.sessions.count()
    if (alive > 0) throw new Error(`${alive} sessions are left`)
    samples.push(await heap())
  }
}
console.log(JSON.stringify(samples))
await app.close()
