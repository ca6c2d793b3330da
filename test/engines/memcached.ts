import type { Engine } from './engine.js'
import { missing, startEngine } from './engine.js'

/** Why tests with memcached are skipped, or false. */
export const noMemcached = missing(['memcached'], 'MEMCACHED_URL')

/** memcached, or the server that MEMCACHED_URL (host:port) names. `url` is host:port. */
export async function startMemcached (t: { teardown (end: () => unknown): void }): Promise<Engine> {
  const given = process.env.MEMCACHED_URL
  if (given) return { url: given, port: Number(given.split(':')[1] ?? 11211) }
  const engine = await startEngine(t, {
    name: 'memcached',
    user: 'nobody',
    command: ({ port }) => ['memcached', '-l', '127.0.0.1', '-p', String(port), '-U', '0', '-m', '64']
  })
  return { ...engine, url: `127.0.0.1:${engine.port}` }
}
