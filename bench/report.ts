import type { StoreName } from './contestant.js'
import type { RouteName } from './routes.js'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'

export interface Measured {
  label: string
  samples: Array<{
    /** Answers. */
    perSecond: number
    /** Microseconds of processor time that an answer costs the server. */
    cpu: number
  }>
  /** The same without the network, or null. */
  injected: number | null
}

const packages = [
  'fastify', '@fastify/cookie', 'ioredis', '@fastify/session', '@mgcrea/fastify-session',
  '@fastify/secure-session', 'express', 'express-session', 'autocannon'
]

export function machine (
  { rounds, seconds, connections, pinned }:
  { rounds: number, seconds: number, connections: number, pinned: boolean }
): string {
  const [{ model }] = cpus()
  const versions = packages.map(name => `${name} ${versionOf(name)}`)
  return `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${model}, Node ${process.version}; ` +
    `${rounds} rounds of ${seconds} s, ${connections} connections, ` +
    `${pinned ? 'server and load on a core each' : 'cores shared'}; ${versions.join(', ')}.`
}

/**
 * @param reference the label of the line that has the ratio 1. Ratios are taken within each round, and by
 * the server's processor time: that is what the throughput amounts to when the server is what limits it.
 */
export function routeTable (
  store: StoreName, route: RouteName, lines: Measured[], reference: string
): string {
  const base = lines.find(({ label }) => label === reference)
  const rows = lines.map(({ label, samples, injected }) => {
    const ratios = base === undefined ? [NaN] : samples.map(({ cpu }, round) => base.samples[round].cpu / cpu)
    return [
      label,
      median(samples.map(({ perSecond }) => perSecond)).toFixed(0),
      median(samples.map(({ cpu }) => cpu)).toFixed(1),
      median(ratios).toFixed(2),
      `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`,
      injected === null ? '' : injected.toFixed(1)
    ]
  })
  return table(`${route}, ${store}`, ['requests/s', 'CPU µs', 'ratio', 'spread', 'CPU µs, inject()'], rows)
}

export function heapTable (weighed: ReadonlyMap<string, number>, bytes: number, count: number): string {
  const rows = [...weighed].map(([label, heap]) => [label, heap.toFixed(0), (heap / bytes).toFixed(2)])
  const columns = ['bytes of heap per session', 'ratio to the data']
  return table(`${count} sessions of ${bytes} bytes, memory`, columns, rows)
}

function table (title: string, columns: string[], rows: string[][]): string {
  const lines = [[title, ...columns], ['---', ...columns.map(() => '---:')], ...rows]
  return '\n' + lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

function median (values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function versionOf (name: string): string {
  const file = join(import.meta.dirname, '../node_modules', name, 'package.json')
  return JSON.parse(readFileSync(file, 'utf8')).version
}
