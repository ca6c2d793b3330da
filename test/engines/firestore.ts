import type { Engine } from './engine.js'
import { freePort, startEngine } from './engine.js'
import { answersWrite, emulator, java, missingEmulator } from './google.js'

const jar = 'cloud-firestore-emulator/cloud-firestore-emulator.jar'
const main = 'com.google.cloud.datastore.emulator.firestore.CloudFirestore'

/** Why tests with Firestore are skipped, or false. */
export const noFirestore = missingEmulator(jar, 'FIRESTORE_EMULATOR_HOST')
/** The same for what FIRESTORE_EMULATOR_HOST cannot stand in for: failures. */
export const noOwnFirestore = missingEmulator(jar)

interface Teardown { teardown (end: () => unknown): void }

/** The emulator of Firestore, or the one that FIRESTORE_EMULATOR_HOST names. `url` is host:port. */
export async function startFirestore (t: Teardown): Promise<Engine> {
  const given = process.env.FIRESTORE_EMULATOR_HOST
  if (given) return { url: given, port: Number(given.split(':')[1]) }
  return startOwnFirestore(t)
}

/**
 * The emulator of Firestore, whatever the environment said; the driver finds it by the environment. It is
 * empty when it has been stopped.
 */
export async function startOwnFirestore (t: Teardown): Promise<Required<Engine>> {
  const websocket = await freePort()
  const engine = await startEngine(t, {
    name: 'firestore',
    command: ({ port }) => [...java, emulator(jar)!, main, '--host=127.0.0.1', `--port=${port}`,
      `--websocket_port=${websocket}`],
    ready: port => answersWrite(`http://127.0.0.1:${port}/v1/projects/first/databases/(default)/documents/first`, {})
  })
  const url = `127.0.0.1:${engine.port}`
  Object.assign(process.env, { FIRESTORE_EMULATOR_HOST: url, METADATA_SERVER_DETECTION: 'none' })
  return { ...engine, url }
}
