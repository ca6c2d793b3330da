import { createConnection } from 'mysql2/promise'
import type { Engine } from './engine.js'
import { missing, startEngine } from './engine.js'

/** Why tests with MariaDB are skipped, or false. */
export const noMariadb = missing(['mariadb-install-db', 'mariadbd'], 'MYSQL_URL')

/** MariaDB with an empty database `test`, or the server that MYSQL_URL names. */
export async function startMariadb (t: { teardown (end: () => unknown): void }): Promise<Engine> {
  const given = process.env.MYSQL_URL
  if (given) return { url: given, port: Number(new URL(given).port || 3306) }
  const engine = await startEngine(t, {
    name: 'mariadb',
    user: 'nobody',
    prepare: ({ directory, run }) => run('mariadb-install-db', '--no-defaults', `--datadir=${directory}/data`,
      `--tmpdir=${directory}`,
      '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'),
    command: ({ directory, port }) => ['mariadbd', '--no-defaults', `--datadir=${directory}/data`,
      `--tmpdir=${directory}`,
      `--port=${port}`, '--bind-address=127.0.0.1', `--socket=${directory}/s`, `--pid-file=${directory}/p`,
      '--skip-name-resolve', '--skip-log-bin', '--default-time-zone=+00:00'],
    ready: createDatabase
  })
  return { ...engine, url: `mysql://root@127.0.0.1:${engine.port}/test` }
}

async function createDatabase (port: number) {
  const connection = await createConnection({ host: '127.0.0.1', port, user: 'root' })
  try {
    await connection.query('create database if not exists test')
  } finally {
    connection.destroy()
  }
}
