// What the tests must cover, whichever test does: the package. Examples, benchmarks, scripts and the tests
// themselves are not part of it.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

// The emulators of these stores come with the Google Cloud SDK only, which is not to be had everywhere.
const emulated = /^stores\/(firestore|datastore)/
const hasEmulators = ['/usr/lib', '/usr/share', '/opt'].some(place => {
  return existsSync(join(place, 'google-cloud-sdk/platform/cloud-firestore-emulator'))
})

const covered = ['lib', 'stores'].flatMap(folder => {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(folder, name))
    .filter(path => hasEmulators || !emulated.test(path))
})

export default () => covered
