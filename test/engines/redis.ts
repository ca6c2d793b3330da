import { Redis } from 'ioredis'
import { writeFile } from 'node:fs/promises'
import type { Engine, EngineControl } from './engine.js'
import { freePort, locate, missing, startEngine, waitFor } from './engine.js'

interface Teardown { teardown (end: () => unknown): void }

/** An engine that we started, so that tests may stop it. */
export type OwnEngine = Engine & { control: EngineControl }

/** Why tests with Redis are skipped, or false. */
export const noRedis = missing(['redis-server'], 'REDIS_URL')
/** The same for what REDIS_URL cannot stand in for: clusters, sentinels, failures. */
export const noOwnRedis = missing(['redis-server'])
/** The same for Valkey, which need not be there. */
export const noValkey = locate('valkey-server') === undefined && 'valkey-server is not installed'

/** Redis without persistence, or the server that REDIS_URL names. */
export async function startRedis (t: Teardown): Promise<Engine> {
  const given = process.env.REDIS_URL
  if (given) return { url: given, port: Number(new URL(given).port || 6379) }
  return startOwnRedis(t)
}

/** Redis without persistence, whatever the environment says: for tests that stop or count. */
export function startOwnRedis (t: Teardown, ...options: string[]): Promise<OwnEngine> {
  return startServer(t, 'redis-server', ...options)
}

export function startValkey (t: Teardown): Promise<OwnEngine> {
  return startServer(t, 'valkey-server')
}

/** Three masters that share the slots, ready to be used. */
export async function startRedisCluster (t: Teardown): Promise<OwnEngine[]> {
  const nodes = await Promise.all([0, 1, 2].map(async () => {
    const bus = await freePort()
    const node = await startServer(t, 'redis-server', '--cluster-enabled', 'yes', '--cluster-port', String(bus),
      '--cluster-node-timeout', '1500', '--cluster-config-file', 'nodes.conf')
    return { ...node, bus }
  }))
  const bounds = [0, 5461, 10_923, 16_384]
  for (const [i, node] of nodes.entries()) {
    await withClient(node.port, async client => {
      await client.call('CLUSTER', 'ADDSLOTSRANGE', bounds[i], bounds[i + 1] - 1)
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
      if (i > 0) await client.call('CLUSTER', 'MEET', '127.0.0.1', nodes[0].port, nodes[0].bus)
    })
  }
  await Promise.all(nodes.map(node => withClient(node.port, client => waitFor(async () => {
    const info = await client.call('CLUSTER', 'INFO') as string
    if (!/cluster_state:ok/.test(info) || !/cluster_known_nodes:3/.test(info)) throw new Error(info)
  }))))
  return nodes
}

export interface SentinelSet {
  /** The name of the master, as clients ask for it. */
  name: string
  master: OwnEngine
  replica: OwnEngine
  sentinel: OwnEngine
}

/** A master, its replica and one sentinel that knows both. */
export async function startRedisSentinel (t: Teardown): Promise<SentinelSet> {
  const name = 'sessions'
  const master = await startServer(t, 'redis-server', '--repl-diskless-sync-delay', '0')
  const replica = await startServer(t, 'redis-server', '--replicaof', '127.0.0.1', String(master.port))
  await withClient(replica.port, client => waitFor(async () => {
    const info = await client.info('replication')
    if (!info.includes('master_link_status:up')) throw new Error(info)
  }))
  const engine = await startEngine(t, {
    name: 'redis-sentinel',
    prepare: ({ directory, port }) => writeFile(`${directory}/sentinel.conf`, [
      `port ${port}`, 'bind 127.0.0.1', `dir ${directory}`,
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`
    ].join('\n')),
    command: ({ directory }) => ['redis-server', `${directory}/sentinel.conf`, '--sentinel']
  })
  await withClient(engine.port, client => waitFor(async () => {
    const known = await client.call('SENTINEL', 'REPLICAS', name) as string[][]
    const flags = known.map(fields => fields[fields.indexOf('flags') + 1])
    if (flags.join() !== 'slave') throw new Error(`replicas: ${flags.join()}`)
  }))
  return { name, master, replica, sentinel: { ...engine, url: `redis://127.0.0.1:${engine.port}` } }
}

async function startServer (t: Teardown, binary: string, ...more: string[]): Promise<OwnEngine> {
  const engine = await startEngine(t, {
    name: binary,
    command: ({ directory, port }) => [binary, '--port', String(port), '--bind', '127.0.0.1', '--dir', directory,
      '--save', '', '--appendonly', 'no', ...more]
  })
  return { ...engine, url: `redis://127.0.0.1:${engine.port}` }
}

async function withClient<T> (port: number, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(port, '127.0.0.1').on('error', () => {})
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}
