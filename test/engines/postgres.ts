import pg from 'pg'
import type { Engine } from './engine.js'
import { missing, startEngine } from './engine.js'

/** Why tests with PostgreSQL are skipped, or false. */
export const noPostgres = missing(['initdb', 'postgres'], 'POSTGRES_URL')

/** PostgreSQL, or the server that POSTGRES_URL names. */
export async function startPostgres (t: { teardown (end: () => unknown): void }): Promise<Engine> {
  const given = process.env.POSTGRES_URL
  if (given) return { url: given, port: Number(new URL(given).port || 5432) }
  const url = (port: number) => `postgres://test@127.0.0.1:${port}/postgres`
  const engine = await startEngine(t, {
    name: 'postgres',
    user: 'postgres',
    prepare: ({ directory, run }) => run('initdb', '-D', `${directory}/data`, '-U', 'test', '-A', 'trust',
      '--no-sync', '-E', 'UTF8', '--locale=C'),
    command: ({ directory, port }) => ['postgres', '-D', `${directory}/data`, '-p', String(port),
      '-k', directory, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', '-c', 'max_connections=300'],
    ready: port => query(url(port)),
    signal: 'SIGINT'
  })
  return { ...engine, url: url(engine.port) }
}

async function query (connectionString: string) {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
  } finally {
    await client.end()
  }
}
