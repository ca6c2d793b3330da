import { readFileSync, readdirSync } from 'node:fs'
import { basename, dirname, join, normalize, relative } from 'node:path'
import { test } from 'tap'

const root = join(import.meta.dirname, '..')

/** From the ground up. A file imports at run time only from its own floor or one below. */
const floors: ReadonlyArray<readonly RegExp[]> = [
  [/^types\//],
  [/^lib\/base\//, /^lib\/errors\.ts$/],
  [/^lib\/cookie\//],
  [/^lib\/records\//],
  [/^lib\/session\//],
  [/^lib\/define-store\.ts$/],
  [/^lib\/config\//],
  [/^lib\/(hosted-session|plugin|store-host)\.ts$/, /^lib\/testing\//, /^stores\//],
  [/^lib\/index\.ts$/]
]

interface Import { from: string, to: string, typeOnly: boolean, dynamic: boolean }

const files = ['lib', 'stores', 'types'].flatMap(folder => {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => join(folder, name))
})
const imports = files.flatMap(importsOf)
const runtime = imports.filter(({ typeOnly }) => !typeOnly)
const { dependencies, peerDependencies, peerDependenciesMeta } =
  JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

test('every file stands on a floor', async t => {
  for (const file of files) t.ok(floorOf(file) >= 0, file)
})

test('arrows point down', async t => {
  for (const { from, to } of runtime.filter(isOurs)) {
    t.ok(floorOf(to) <= floorOf(from), `${from} imports ${to}`)
  }
})

test('the core imports no store; only the composition root does', async t => {
  const openers = runtime.filter(({ to }) => to.startsWith('stores/')).filter(({ from }) => from.startsWith('lib/'))
  t.strictSame([...new Set(openers.map(({ from }) => from))], ['lib/index.ts'])
  t.ok(openers.every(({ dynamic }) => dynamic), 'and imports each when it is named')
})

test('a store knows its own files and the door into lib, not the other stores', async t => {
  const allowed = ['lib/define-store.ts', 'lib/errors.ts']
  for (const { from, to } of runtime.filter(isOurs).filter(({ from }) => from.startsWith('stores/'))) {
    const isOwn = to.startsWith('stores/') && nounOf(to) === nounOf(from)
    t.ok(isOwn || allowed.includes(to), `${from} imports ${to}`)
  }
})

test('drivers are imported when used, and declared as optional peers', async t => {
  const drivers = imports.filter(({ from, to, typeOnly }) => {
    return from.startsWith('stores/') && !isOurs({ to }) && !to.startsWith('node:') && !(to in dependencies) && !typeOnly
  })
  t.ok(drivers.length > 0)
  for (const { from, to, dynamic } of drivers) {
    t.ok(dynamic, `${from} imports ${to} when it is used`)
    t.ok(to in peerDependencies, `${to} is a peer dependency`)
    t.equal(peerDependenciesMeta[to]?.optional, true, `${to} is optional`)
  }
})

test('the core does not know Fastify at run time', async t => {
  const wired = runtime.filter(({ from, to }) => !from.startsWith('lib/testing/') && /fastify/.test(to))
  t.strictSame(wired.map(({ from, to }) => `${from} ${to}`).sort(), [
    'lib/errors.ts @fastify/error',
    'lib/plugin.ts fastify-plugin'
  ])
})

function importsOf (file: string): Import[] {
  const source = readFileSync(join(root, file), 'utf8').replace(/\/\*[^]*?\*\//g, '')
  const found: Import[] = []
  const add = (specifier: string, typeOnly: boolean, dynamic: boolean) => {
    const to = specifier.startsWith('.')
      ? normalize(join(dirname(file), specifier)).replace(/\.js$/, '.ts')
      : specifier
    found.push({ from: file, to, typeOnly, dynamic })
  }
  for (const [, type, specifier] of source.matchAll(/^(?:import|export) (type )?[^'"]*?from '([^']+)'/gm)) {
    add(specifier, type !== undefined, false)
  }
  for (const [, specifier] of source.matchAll(/[^.\w]import\('([^']+)'\)(?!\.|\[)/g)) add(specifier, false, true)
  for (const [, specifier] of source.matchAll(/await import\('([^']+)'\)\)\./g)) add(specifier, false, true)
  return found
}

function isOurs ({ to }: { to: string }): boolean {
  return /^(lib|stores|types)\//.test(to)
}

function floorOf (file: string): number {
  const path = relative('.', file)
  return floors.findIndex(patterns => patterns.some(pattern => pattern.test(path)))
}

function nounOf (file: string): string {
  return basename(file, '.ts').split('-')[0]
}
