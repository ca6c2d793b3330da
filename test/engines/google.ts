import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { locate } from './engine.js'

/** Where the Google Cloud SDK is: beside gcloud, or where its installers put it. */
const places = [
  ...[locate('gcloud')].flatMap(gcloud => gcloud === undefined ? [] : [dirname(dirname(gcloud))]),
  '/usr/lib/google-cloud-sdk', '/usr/share/google-cloud-sdk', '/opt/google-cloud-sdk',
  join(homedir(), 'google-cloud-sdk')
]

/** The jar of an emulator, or undefined. */
export function emulator (path: string): string | undefined {
  return places.map(place => join(place, 'platform', path)).find(jar => existsSync(jar))
}

/**
 * Why tests with an emulator are skipped, or false. Unlike other engines these are skipped with
 * REQUIRE_ENGINES=1 too: no package of Debian or npm has them.
 *
 * @param variable the environment variable that points at a running one instead
 */
export function missingEmulator (path: string, variable?: string): string | false {
  if (variable !== undefined && process.env[variable]) return false
  if (emulator(path) === undefined) return `${path} of the Google Cloud SDK is not installed`
  return locate('java') === undefined && 'java is not installed'
}

/** The Java that an emulator runs on. */
export const java = ['java', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp'] as const

/**
 * Resolves when an emulator has done a write. It accepts connections long before that: on a busy machine its
 * first write takes several seconds, more than the stores wait.
 */
export async function answersWrite (url: string, body: object): Promise<void> {
  const signal = AbortSignal.timeout(30_000)
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal })
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
}
