// Runs TypeScript from its source, by `node --import ./scripts/typescript.js file.ts`: types become blanks, so that
// lines and columns stay and coverage needs no source maps. The package's own name means the source, too.
import { existsSync, readFileSync } from 'node:fs'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import blankSpace from 'ts-blank-space'

const root = new URL('../', import.meta.url)
const entries = { 'fastify-sessions': 'lib/index.ts', 'fastify-sessions/testing': 'lib/testing/index.ts' }

// The file is the main thread's entry, and the module of hooks that Node runs on a thread of its own.
if (isMainThread) register(import.meta.url)

export function resolve (specifier, context, next) {
  const entry = entries[specifier] ?? specifier.match(/^fastify-sessions\/(stores\/\w+)$/)?.[1].concat('.ts')
  if (entry !== undefined) return { url: new URL(entry, root).href, shortCircuit: true }
  if (/^\.{1,2}\/.*\.js$/.test(specifier)) {
    const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL)
    if (existsSync(source)) return { url: source.href, shortCircuit: true }
  }
  return next(specifier, context)
}

export function load (url, context, next) {
  if (!/^file:.*\.ts(\?|$)/.test(url)) return next(url, context)
  const refuse = node => { throw new SyntaxError(`${url}: types alone can be erased, not ${node.getText()}`) }
  return { format: 'module', source: blankSpace(readFileSync(fileURLToPath(url), 'utf8'), refuse), shortCircuit: true }
}
