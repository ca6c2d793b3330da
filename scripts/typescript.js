// Runs TypeScript from its source, by `node --import ./scripts/typescript.js file.ts`: types become blanks,
// so that lines and columns stay and coverage needs no source maps. The package's own name means the source,
// too.
import { hash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const root = new URL('../', import.meta.url)
const cache = new URL('node_modules/.cache/fastify-sessions/', root)
const entries = { 'fastify-sessions': 'lib/index.ts', 'fastify-sessions/testing': 'lib/testing/index.ts' }

// This file is imported twice: by the main thread, and by the thread on which Node runs its hooks.
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

export async function load (url, context, next) {
  if (!/^file:.*\.ts(\?|$)/.test(url)) return next(url, context)
  const source = readFileSync(fileURLToPath(url), 'utf8')
  const kept = new URL(`${hash('sha256', source)}.js`, cache)
  if (!existsSync(kept)) await keep(kept, source, url)
  return { format: 'module', source: readFileSync(kept, 'utf8'), shortCircuit: true }
}

/**
 * Loading the compiler takes longer than all else: its results are kept, and it is loaded only for new ones.
 */
async function keep (place, source, url) {
  const { default: blankSpace } = await import('ts-blank-space')
  const erased = blankSpace(source, node => {
    throw new SyntaxError(`${url}: types alone can be erased, not ${node.getText()}`)
  })
  mkdirSync(cache, { recursive: true })
  const temporary = new URL(`${place}.${process.pid}.${performance.now()}`)
  writeFileSync(temporary, erased)
  renameSync(temporary, place)
}
