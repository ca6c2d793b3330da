import { setTimeout as sleep } from 'node:timers/promises'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import sessions from '../../lib/index.js'
import type { StoreData } from '../helpers/worker-app.js'

/**
 * A process with a server, whose store the first argument tells. It prints its port, closes at a SIGTERM, and
 * prints at its end how many handlers have begun, and how many responses have left as they should.
 */
const store: StoreData = JSON.parse(process.argv[2])
// Otherwise Fastify waits for a minute for connections that become idle while it closes.
const app = Fastify({ pluginTimeout: 60_000, keepAliveTimeout: 200 })
let begun = 0
let answered = 0

await app.register(cookie)
await app.register(sessions, { store, storeTimeout: 30, sweepInterval: 1 })
app.post<{ Params: { n: number } }>('/set/:n', async ({ session, params }) => {
  begun++
  await session.load()
  await sleep(Math.random() * 50)
  session.set('n', params.n)
  return {}
})
app.addHook('onResponse', async (request, reply) => {
  if (request.method === 'POST' && reply.statusCode === 200) answered++
})
const address = await app.listen({ port: 0 })
process.once('SIGTERM', () => app.close())
process.once('exit', () => console.log(JSON.stringify({ begun, answered })))
console.log(new URL(address).port)
