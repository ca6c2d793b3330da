// One contestant in a process of its own: started by run.ts, asked over IPC.
import type { FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import type { Setup } from './contestant.js'
import type { RouteName } from './routes.js'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { contestants } from './contestants.js'

export interface Order extends Setup { contestant: string }

export type Question =
  /** Microseconds of processor time that this process has used. */
  | { ask: 'usage' }
  /** Microseconds of processor time per request, without the network. Null where that cannot be. */
  | { ask: 'inject', route: RouteName, cookies: string[], count: number }
  /** Bytes of heap per session, of so many. */
  | { ask: 'heap', count: number }

const order: Order = JSON.parse(process.argv[2])
const contestant = contestants.find(({ name }) => name === order.contestant)!
const app = await contestant.build(order)

process.on('disconnect', () => process.exit())
process.on('message', async (question: Question) => process.send!(await answer(question)))
process.send!(await listen())

async function listen (): Promise<number> {
  if (typeof app === 'function') {
    const server = createServer(app).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

async function answer (question: Question): Promise<number | null> {
  if (question.ask === 'usage') return usage()
  if (typeof app === 'function') return null
  return question.ask === 'heap' ? heapPerSession(app, question.count) : injected(app, question)
}

async function injected (
  app: FastifyInstance, { route, cookies, count }: Extract<Question, { ask: 'inject' }>
): Promise<number> {
  const begun = usage()
  for (let i = 0; i < count; i++) await visitBy(app, route, cookies[i % cookies.length])
  return (usage() - begun) / count
}

async function heapPerSession (app: FastifyInstance, count: number): Promise<number> {
  for (let i = 0; i < 1000; i++) await visitBy(app, 'new')
  const before = await heap()
  for (let i = 0; i < count; i++) await visitBy(app, 'new')
  return (await heap() - before) / count
}

async function visitBy (app: FastifyInstance, route: RouteName, cookie?: string): Promise<void> {
  // As between requests that come by the network: without a turn of the event loop nothing of them goes.
  await setImmediate()
  const { statusCode, body } = await app.inject({ url: `/${route}`, headers: cookie ? { cookie } : {} })
  if (statusCode !== 200) throw new Error(`${order.contestant} ${route}: ${statusCode} ${body}`)
}

/** What requests leave behind goes after some turns of the event loop: collects until nothing goes. */
async function heap (): Promise<number> {
  for (let last = Infinity; ;) {
    await setTimeout(100)
    global.gc!()
    const { heapUsed, external } = process.memoryUsage()
    if (heapUsed + external > last * 0.999) return heapUsed + external
    last = heapUsed + external
  }
}

function usage (): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
