// What the tests must cover to the last branch, whichever test does: the core and what it publishes for
// tests. The stores are measured with COVERAGE=all and not part of the check: whether a race inside an
// engine is lost, and a retry taken, is the engine's matter and differs between runs. Examples, benchmarks,
// scripts and the tests themselves are not part of the package.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const folders = process.env.COVERAGE === 'all' ? ['lib', 'stores'] : ['lib']
const covered = folders.flatMap(folder => {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(folder, name))
})

export default () => covered
