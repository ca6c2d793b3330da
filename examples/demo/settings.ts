import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { DemoOptions } from './app.js'

/** Beside the secret, in the working directory: not for the repository. */
const directory = '.sessions'

export const usage = `usage: npm run demo -- [--store memory|file|sqlite|redis|postgres|mysql] [--port 3000]
environment: DEMO_STORE, REDIS_URL, POSTGRES_URL, MYSQL_URL, SESSION_SECRET`

type Environment = Readonly<Record<string, string | undefined>>

/** What the command line and the environment ask for. Makes the directory and, once, the secret. */
export async function settings (
  args: string[], env: Environment
): Promise<DemoOptions & { port: number }> {
  const { store = env.DEMO_STORE || 'file', port } = readArguments(args)
  const chosen = storeOptions(store, env)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  return { ...chosen, port, secret: env.SESSION_SECRET || await ownSecret() }
}

function readArguments (args: string[]): { store?: string, port: number } {
  try {
    const { values } = parseArgs({ args, options: { store: { type: 'string' }, port: { type: 'string' } } })
    const port = Number(values.port ?? 3000)
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Error('--port takes a port number')
    return { store: values.store, port }
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${usage}`)
  }
}

function storeOptions (name: string, env: Environment): Pick<DemoOptions, 'store' | 'storeName'> {
  switch (name) {
    case 'memory':
      return { store: { type: 'memory' }, storeName: 'memory' }
    case 'file':
      return { store: { type: 'file', directory }, storeName: 'files' }
    case 'sqlite': {
      const filename = join(directory, 'demo.sqlite')
      return { store: { type: 'sql', dialect: 'sqlite', filename, createTable: true }, storeName: 'SQLite' }
    }
    case 'redis': {
      const url = env.REDIS_URL || 'redis://127.0.0.1:6379'
      return { store: { type: 'redis', url }, storeName: 'Redis' }
    }
    case 'postgres': {
      const url = needed('POSTGRES_URL', env)
      return { store: { type: 'sql', dialect: 'postgres', url, createTable: true }, storeName: 'PostgreSQL' }
    }
    case 'mysql': {
      const url = needed('MYSQL_URL', env)
      return { store: { type: 'sql', dialect: 'mysql', url, createTable: true }, storeName: 'MySQL' }
    }
    default:
      throw new Error(`unknown store ${JSON.stringify(name)}\n${usage}`)
  }
}

function needed (variable: string, env: Environment): string {
  const url = env[variable]
  if (!url) throw new Error(`this store needs ${variable} in the environment\n${usage}`)
  return url
}

/**
 * Kept in a file so that a restart of the demo logs nobody out. A real application takes its secret from its
 * environment: every process needs the same one, and it does not belong beside the sessions that it protects.
 */
async function ownSecret (): Promise<string> {
  const path = join(directory, 'secret')
  try {
    await writeFile(path, randomBytes(32).toString('base64url'), { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFile(path, 'utf8')
}
