// npm run bench: see README.md beside this file.
import type { Contestant, StoreName } from './contestant.js'
import type { Measured } from './report.js'
import type { RouteName } from './routes.js'
import type { Served } from './server-process.js'
import autocannon from 'autocannon'
import { execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { locate } from '../test/engines/engine.js'
import { startOwnRedis } from '../test/engines/redis.js'
import { everyRoute, everyStore } from './contestant.js'
import { COOKIE_ONLY, FLOOR, contestants } from './contestants.js'
import { visit } from './data.js'
import { heapTable, machine, routeTable } from './report.js'
import { serve, urlOf } from './server-process.js'

const { values: args } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    connections: { type: 'string', default: '32' },
    stores: { type: 'string', default: everyStore.join() },
    routes: { type: 'string', default: everyRoute.join() },
    only: { type: 'string', default: '' },
    against: { type: 'string' }
  }
})
const rounds = Number(args.rounds ?? (args.quick ? 3 : 5))
const seconds = Number(args.seconds ?? (args.quick ? 1 : 2))
const connections = Number(args.connections)
const injections = args.quick ? 3000 : 10_000
const sessions = args.quick ? 20_000 : 100_000
/** Seconds of requests before those that count, so that the compiler has done its work. */
const WARM = 2
const dist = join(import.meta.dirname, '../dist')
/** Whom the lines of each route are compared with. */
const reference: Record<RouteName, string> = { plain: COOKIE_ONLY, read: FLOOR, write: FLOOR, new: FLOOR }

/** A line of the table. */
interface Line { label: string, contestant: Contestant, dist: string }

const chosen: Line[] = contestants
  .filter(({ name }) => name === COOKIE_ONLY || name === FLOOR || new RegExp(args.only).test(name))
  .flatMap(contestant => {
    const line = { label: contestant.name, contestant, dist }
    const isOurs = contestant.name.startsWith('fastify-sessions')
    if (args.against === undefined || !isOurs) return [line]
    return [{ ...line, label: `${line.label}, before`, dist: resolve(args.against) }, line]
  })

const teardowns: Array<() => unknown> = []
// Servers have the first processor, all else the second, where there are two and a way to say so.
const onServers = locate('taskset') === undefined ? [] : ['taskset', '-c', '0']
if (onServers.length > 0) execFileSync('taskset', ['-acp', '1', String(process.pid)])
try {
  console.log(machine({ rounds, seconds, connections, pinned: onServers.length > 0 }))
  for (const store of args.stores.split(',') as StoreName[]) await compare(store)
  if (args.routes.includes('new') && args.stores.includes('memory')) await weigh()
} finally {
  for (const end of teardowns.reverse()) await end()
}

async function compare (store: StoreName): Promise<void> {
  const redisUrl = store === 'redis' ? await startRedis() : ''
  for (const route of args.routes.split(',') as RouteName[]) {
    // Beside a Redis that is asked the processor has no time to sleep.
    const sleep = store === 'redis' && route !== 'plain' ? () => {} : keepAwake()
    const measured = chosen
      .filter(({ contestant }) => contestant.stores.includes(store) && contestant.routes.includes(route))
      .map(line => ({ line, label: line.label, samples: [] as Measured['samples'], injected: null as number | null }))
    for (let round = 0; round < rounds; round++) {
      for (const entry of rotated(measured, round)) {
        const { contestant, dist } = entry.line
        const server = await serve({ contestant: contestant.name, dist, store, redisUrl }, onServers)
        const cookies = await cookiesFor(server, route, entry.line)
        const visit = (duration: number) => measure(server, route, cookies, duration, entry.label)
        await visit(WARM)
        entry.samples.push(await visit(seconds))
        if (round === rounds - 1) entry.injected = await inject(server, route, cookies)
        await server.stop()
      }
    }
    sleep()
    console.log(routeTable(store, route, measured, reference[route]))
  }
}

/**
 * The load never sleeps. Where the other processor has to be woken for a response, which in a virtual machine
 * takes as long as the request itself, the server that writes pays for it, and a slower one pays more often.
 */
function keepAwake (): () => void {
  let immediate: NodeJS.Immediate
  const again = () => { immediate = setImmediate(again) }
  again()
  return () => clearImmediate(immediate)
}

/** Nobody is always the first or always after the same neighbour. */
function rotated<T> (list: T[], by: number): T[] {
  const start = by % list.length
  return [...list.slice(start), ...list.slice(0, start)]
}

async function measure (
  server: Served, route: RouteName, cookies: string[], duration: number, label: string
): Promise<Measured['samples'][number]> {
  let next = 0
  const begun = await server.ask({ ask: 'usage' })
  const result = await autocannon({
    url: urlOf(server.port, route),
    connections,
    duration,
    setupClient (client) {
      const cookie = cookies[next++ % cookies.length]
      client.setHeaders(cookie === undefined ? {} : { cookie })
    }
  })
  const used = (await server.ask({ ask: 'usage' }))! - begun!
  const answered = result['2xx']
  if (answered === 0 || result.non2xx + result.errors > 0) {
    throw new Error(`${label}, ${route}: ${result.non2xx} refusals, ${result.errors} errors`)
  }
  return { perSecond: answered / result.duration, cpu: used / answered }
}

async function inject (server: Served, route: RouteName, cookies: string[]): Promise<number | null> {
  await server.ask({ ask: 'inject', route, cookies, count: injections })
  return server.ask({ ask: 'inject', route, cookies, count: injections })
}

/**
 * Each connection is a browser of its own. Without sessions it sends a cookie all the same, one that was set
 * where there is something to set it.
 */
async function cookiesFor (server: Served, route: RouteName, { contestant }: Line): Promise<string[]> {
  if (route === 'new') return []
  const setsCookies = contestant.routes.includes('new') || contestant.name === COOKIE_ONLY
  return setsCookies ? server.visitors(connections) : [`sid=${'x'.repeat(43)}`]
}

async function weigh (): Promise<void> {
  const weighed = new Map<string, number>()
  for (const { label, contestant, dist } of chosen) {
    const isWorth = contestant.stores.includes('redis') && contestant.routes.includes('new')
    if (!isWorth) continue
    const server = await serve({ contestant: contestant.name, dist, store: 'memory', redisUrl: '' }, onServers, '--expose-gc')
    const bytes = await server.ask({ ask: 'heap', count: sessions })
    if (bytes !== null) weighed.set(label, bytes)
    await server.stop()
  }
  console.log(heapTable(weighed, Buffer.byteLength(JSON.stringify(visit())), sessions))
}

async function startRedis (): Promise<string> {
  const { url } = await startOwnRedis({ teardown: end => teardowns.push(end) })
  return url
}
