import { MongoClient } from 'mongodb'
import type { Engine } from './engine.js'
import { missing, startEngine } from './engine.js'

/** Why tests with MongoDB are skipped, or false. */
export const noMongodb = missing(['jongodb'], 'MONGODB_URL')

/** A server that speaks the protocol of MongoDB, or the one that MONGODB_URL names. */
export async function startMongodb (t: { teardown (end: () => unknown): void }): Promise<Engine> {
  const given = process.env.MONGODB_URL
  if (given) return { url: given, port: Number(/:(\d+)(?!.*@)/.exec(given)?.[1] ?? 27017) }
  const url = (port: number) => `mongodb://127.0.0.1:${port}`
  const engine = await startEngine(t, {
    name: 'mongodb',
    command: ({ port }) => ['jongodb', '--host=127.0.0.1', `--port=${port}`, '--database=test'],
    ready: port => answers(url(port))
  })
  return { ...engine, url: url(engine.port) }
}

async function answers (url: string) {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 1000 })
  try {
    await client.connect()
  } finally {
    await client.close()
  }
}
