import type { Engine, EngineControl } from './engine.js'
import { missing, startEngine } from './engine.js'

/** Why tests with memcached are skipped, or false. */
export const noMemcached = missing(['memcached'], 'MEMCACHED_URL')

interface Teardown { teardown (end: () => unknown): void }

/** An engine that we started, so that tests may stop it. */
export type OwnEngine = Engine & { control: EngineControl }

/** The same for what MEMCACHED_URL cannot stand in for: several servers, failures. */
export const noOwnMemcached = missing(['memcached'])

/** memcached, or the server that MEMCACHED_URL (host:port) names. `url` is host:port. */
export async function startMemcached (t: Teardown): Promise<Engine> {
  const given = process.env.MEMCACHED_URL
  if (given) return { url: given, port: Number(given.split(':')[1] ?? 11211) }
  return startOwnMemcached(t)
}

/** memcached, whatever the environment says. */
export async function startOwnMemcached (t: Teardown, ...options: string[]): Promise<OwnEngine> {
  const engine = await startEngine(t, {
    name: 'memcached',
    user: 'nobody',
    command: ({ port }) => ['memcached', '-l', '127.0.0.1', '-p', String(port), '-U', '0', '-m', '64',
      ...options]
  })
  return { ...engine, url: `127.0.0.1:${engine.port}` }
}
