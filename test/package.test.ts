import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'

const root = join(import.meta.dirname, '..')

test('the package, as npm publishes it', { timeout: 240_000 }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-sessions-package-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const run = (program: string, ...args: string[]) => execFileSync(program, args, { cwd: folder, encoding: 'utf8' })

  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
    cwd: root, encoding: 'utf8'
  }))
  const names: string[] = packed.files.map(({ path }: { path: string }) => path)
  t.ok(names.includes('dist/lib/index.js'))
  t.ok(names.includes('dist/lib/index.d.ts'))
  t.ok(names.includes('dist/stores/redis.js'))
  t.ok(names.includes('stores/redis.md'))
  const stray = names.filter(name => !/^(dist\/.*\.(js|d\.ts|js\.map)|stores\/\w+\.md|docs\/[\w-]+\.md|[A-Z]+(\.md)?|package\.json)$/.test(name))
  t.strictSame(stray, [], 'and nothing that users do not need')

  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  const versions = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).devDependencies
  run('npm', 'install', '--silent', '--no-audit', '--no-fund', '--prefer-offline', join(folder, packed.filename),
    `fastify@${versions.fastify}`, `@fastify/cookie@${versions['@fastify/cookie']}`)
  const installed = readdirSync(join(folder, 'node_modules'))
  t.notOk(installed.includes('ioredis'), 'no driver comes along')

  const program = `
    const app = Fastify()
    app.register(cookie)
    app.register(sessions)
    app.get('/', async request => {
      const session = await request.session.load()
      return String(session.update('n', (n = 0) => n + 1))
    })
    app.inject('/').then(first => {
      const [pair] = first.headers['set-cookie'].split(';')
      return app.inject({ url: '/', headers: { cookie: pair } })
    }).then(second => console.log(second.body, typeof testBackend, typeof memoryStore))`
  writeFileSync(join(folder, 'from-esm.mjs'), `
    import Fastify from 'fastify'
    import cookie from '@fastify/cookie'
    import sessions from 'fastify-sessions'
    import { testBackend } from 'fastify-sessions/testing'
    import { memoryStore } from 'fastify-sessions/stores/memory'
    ${program}`)
  writeFileSync(join(folder, 'from-require.cjs'), `
    const Fastify = require('fastify')
    const cookie = require('@fastify/cookie')
    const { sessions } = require('fastify-sessions')
    const { testBackend } = require('fastify-sessions/testing')
    const { memoryStore } = require('fastify-sessions/stores/memory')
    ${program}`)
  t.equal(run(process.execPath, 'from-esm.mjs'), '2 function function\n')
  t.equal(run(process.execPath, '--no-warnings', 'from-require.cjs'), '2 function function\n')

  writeFileSync(join(folder, 'typed.ts'), `
    import type { FastifyRequest } from 'fastify'
    import sessions, { type SessionOptions } from 'fastify-sessions'
    import { memoryStore } from 'fastify-sessions/stores/memory'
    declare module 'fastify-sessions' { interface SessionData { cart: string[] } }
    export const options: SessionOptions = { store: memoryStore({ maxEntries: 10 }) }
    export const cart = async (request: FastifyRequest): Promise<string[] | undefined> =>
      (await request.session.load()).cart
    export default sessions`)
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const typeRoots = join(root, 'node_modules', '@types')
  try {
    run(process.execPath, tsc, '--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023',
      '--types', 'node', '--typeRoots', typeRoots, 'typed.ts')
  } catch (error) {
    t.fail((error as { stdout: string }).stdout)
  }
})
