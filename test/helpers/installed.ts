import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import blankSpace from 'ts-blank-space'

const root = join(import.meta.dirname, '..', '..')

interface Teardown { teardown (fn: () => unknown): void }

/**
 * A folder that has the package installed, and all that it is developed with; removed at the end of the test.
 * The package is what a build makes of it, but for the types.
 */
export function installedFolder (t: Teardown): string {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-sessions-installed-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  const modules = join(folder, 'node_modules')
  const own = join(modules, 'fastify-sessions')
  mkdirSync(own, { recursive: true })
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  writeFileSync(join(own, 'package.json'), readFileSync(join(root, 'package.json')))
  for (const source of ['lib', 'stores']) {
    for (const name of readdirSync(join(root, source), { recursive: true, encoding: 'utf8' })) {
      if (name.endsWith('.ts')) compile(join(root, source, name), join(own, 'dist', source, name))
    }
  }
  return folder
}

function compile (from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  writeFileSync(to.replace(/ts$/, 'js'), blankSpace(readFileSync(from, 'utf8')))
}
