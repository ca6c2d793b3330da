import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'

const root = join(import.meta.dirname, '..', '..')
const folder = join(root, '.tap', 'plugin-types')

function tsc (...args: string[]): string {
  const program = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  try {
    return execFileSync(process.execPath, [program, ...args], { encoding: 'utf8' })
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

test('our types, as they are published, beside those of the plugins', { timeout: 240_000 }, async t => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const dist = join(folder, 'dist')
  t.equal(tsc('-p', join(root, 'tsconfig.build.json'), '--emitDeclarationOnly', '--outDir', dist), '')

  // The types of @fastify/csrf name CryptoKey, which lib.dom has.
  const compilerOptions = {
    skipLibCheck: false,
    lib: ['es2023', 'dom'],
    paths: {
      'fastify-sessions': ['./dist/lib/index.d.ts'],
      '@fastify/secure-session': ['./dist/types/secure-session.d.ts']
    }
  }
  const files = ['../../test/types/plugins.ts']
  const config = { extends: '../../tsconfig.json', compilerOptions, include: [], files }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  t.equal(tsc('-p', folder), '')
})
