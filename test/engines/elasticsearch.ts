import type { Engine } from './engine.js'
import { startFake } from './elasticsearch-fake.js'

/** Whether what the tests call Elasticsearch is the fake. */
export const isFake = !process.env.ELASTICSEARCH_URL

/** The server that ELASTICSEARCH_URL names, or the FAKE of this folder. */
export async function startElasticsearch (t: { teardown (end: () => unknown): void }): Promise<Engine> {
  const given = process.env.ELASTICSEARCH_URL
  if (given) return { url: given, port: Number(new URL(given).port || 9200) }
  return startFake(t)
}
