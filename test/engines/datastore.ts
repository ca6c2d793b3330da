import type { Engine } from './engine.js'
import { startEngine } from './engine.js'
import { answersWrite, emulator, java, missingEmulator } from './google.js'

const jar = 'cloud-datastore-emulator/CloudDatastore.jar'
const main = 'com.google.cloud.datastore.emulator.CloudDatastore'

/** Why tests with Datastore are skipped, or false. */
export const noDatastore = missingEmulator(jar, 'DATASTORE_EMULATOR_HOST')
/** The same for what DATASTORE_EMULATOR_HOST cannot stand in for: failures. */
export const noOwnDatastore = missingEmulator(jar)

const firstWrite = {
  mode: 'NON_TRANSACTIONAL',
  mutations: [{ upsert: { key: { path: [{ kind: 'First', name: 'first' }] } } }]
}

interface Teardown { teardown (end: () => unknown): void }

/** The emulator of Datastore, or the one that DATASTORE_EMULATOR_HOST names. `url` is host:port. */
export async function startDatastore (t: Teardown): Promise<Engine> {
  const given = process.env.DATASTORE_EMULATOR_HOST
  if (given) return { url: given, port: Number(given.split(':')[1]) }
  return startOwnDatastore(t)
}

/**
 * The emulator of Datastore as it is today (Firestore in Datastore mode), whatever the environment said; the
 * driver finds it by the environment. It is empty when it has been stopped.
 */
export async function startOwnDatastore (t: Teardown): Promise<Required<Engine>> {
  const engine = await startEngine(t, {
    name: 'datastore',
    command: ({ port, directory }) => [...java, emulator(jar)!, main, 'start', '--host=127.0.0.1',
      `--port=${port}`, '--testing', '--firestore_in_datastore_mode', directory],
    ready: port => answersWrite(`http://127.0.0.1:${port}/v1/projects/first:commit`, firstWrite)
  })
  const url = `127.0.0.1:${engine.port}`
  Object.assign(process.env, { DATASTORE_EMULATOR_HOST: url, METADATA_SERVER_DETECTION: 'none' })
  return { ...engine, url }
}
