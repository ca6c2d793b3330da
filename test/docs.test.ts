import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { withOptionsTable } from '../scripts/options-table.js'

const root = join(import.meta.dirname, '..')
const stores = readdirSync(join(root, 'stores')).filter(name => name.endsWith('.md')).map(name => `stores/${name}`)
const guides = readdirSync(join(root, 'docs')).map(name => `docs/${name}`)
const pages = stores.filter(name => !name.endsWith('README.md'))

test('the table of options in the README is made of the schema', async t => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  t.ok(readme.includes('| `idleTimeout` | `1800` |'))
  t.equal(readme, withOptionsTable(readme), 'run: npm run docs')
})

test('every page of a store has the same headings', async t => {
  t.ok(pages.length > 0)
  for (const page of pages) {
    const headings = [...readFileSync(join(root, page), 'utf8').matchAll(/^## (.*)$/gm)].map(([, title]) => title)
    t.strictSame(headings, ['Set-up', 'Example', 'Options', 'Expiry', 'Keys', 'Limits'], page)
  }
})

test('the code in README.md, docs/*.md and stores/*.md compiles', async t => {
  const folder = join(root, '.tap', 'docs')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const page of ['README.md', ...guides, ...stores]) {
    const blocks = [...readFileSync(join(root, page), 'utf8').matchAll(/^```ts\n([^]*?)^```/gm)]
    blocks.forEach(([, code], index) => {
      writeFileSync(join(folder, `${page.replace(/\W/g, '-')}-${index}.ts`), `${code}\nexport {}\n`)
    })
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
    extends: '../../tsconfig.json',
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ['.']
  }))
  t.ok(readdirSync(folder).length > 5)
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  try {
    execFileSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' })
  } catch (error) {
    t.fail((error as { stdout: string }).stdout)
  }
})
