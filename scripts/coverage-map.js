// What the tests must cover, whichever test does: the package. Examples, benchmarks, scripts and the tests
// themselves are not part of it.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const covered = ['lib', 'stores'].flatMap(folder => {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(folder, name))
})

export default () => covered
