import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import blankSpace from 'ts-blank-space'
import { testBackend } from '../../lib/testing/index.js'
import { memoryStore } from '../../stores/memory.js'
import { installedFolder } from '../helpers/installed.js'

const root = join(import.meta.dirname, '..', '..')
const page = readFileSync(join(root, 'docs', 'testing.md'), 'utf8')
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
/** How each of them runs one file and speaks TAP. */
const runners = {
  'node:test': ['--test-reporter=tap'],
  tap: [],
  vitest: [vitest, 'run', '--reporter=tap-flat', '--testTimeout=60000']
}
type Runner = keyof typeof runners

/** The first code under a heading of the page, written for one runner. */
function codeUnder (heading: string, runner: Runner): string {
  const [, code] = page.slice(page.indexOf(`## ${heading}\n`)).match(/^```ts\n([^]*?)^```/m)!
  return blankSpace(code.replace("from 'node:test'", `from '${runner}'`))
}

/** Runs a file of tests by itself. */
async function run (folder: string, runner: Runner, name: string, code: string) {
  const file = `${name}-${runner.replace(':', '-')}.test.js`
  writeFileSync(join(folder, file), code)
  const options = { cwd: folder, env: { PATH: process.env.PATH }, timeout: 60_000 }
  const ended = await new Promise<{ code: number | null, output: string }>(resolve => {
    const child = execFile(process.execPath, [...runners[runner], file], options, (_, output, errors) => {
      resolve({ code: child.exitCode, output: output + errors })
    })
  })
  const line = /^(ok|not ok) \d+ - (?:\S+\.test\.js > )?(.*?)(?: # time=.*)?$/gm
  const results = [...ended.output.matchAll(line)]
  const named = (result: string) => results.filter(([, is]) => is === result).map(([,, name]) => name).sort()
  return { ...ended, passed: named('ok'), failed: named('not ok') }
}

const stories = [
  'after half an hour without use one has to log in again',
  'the cart fills up, request by request',
  'who is logged in can order'
]
const cases: string[] = []
testBackend({
  test: name => cases.push(name),
  store: () => memoryStore(),
  abilities: ['keysOf', 'removeAllOf', 'sweep', 'count'],
  shared: false
})
cases.sort()

test('T6 what docs/testing.md shows, with each runner', { timeout: 240_000 }, async t => {
  const folder = installedFolder(t)
  for (const runner of Object.keys(runners) as Runner[]) {
    t.test(runner, async t => {
      const ends = async (name: string, code: string, expected: object) => {
        const { output, ...result } = await run(folder, runner, name, code)
        t.strictSame(result, expected, name, { output })
      }
      const complete = codeUnder('A complete test', runner)
      await ends('sound', complete, { code: 0, passed: stories, failed: [] })
      const early = complete.replace('clock.advance(1800)', 'clock.advance(1799)')
      await ends('broken', early, { code: 1, passed: stories.slice(1), failed: [stories[0]] })
      const suite = codeUnder('A store of your own', runner).replace('shared:', 'rounds: 50, numRuns: 5, shared:')
      await ends('suite', suite, { code: 0, passed: cases, failed: [] })
    })
  }
})
