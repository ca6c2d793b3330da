import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'tap'
import type { SessionOptions } from '../../lib/index.js'
import { size } from './size.js'

const secret = 'a secret of the soak, which has 32 bytes'
const kinds: Record<string, SessionOptions> = {
  plain: {},
  'signed and encrypted, with metadata': { secret, encryption: true, metadata: true }
}
const requests = size(3000, 200_000)
/** Bytes that caches and compiled code may still take after the first half. */
const SOME = 1_500_000

for (const [kind, options] of Object.entries(kinds)) {
  test(`${kind}: after ${requests} requests the heap is as it was`, async t => {
    const program = join(import.meta.dirname, 'soak.ts')
    const child = spawn(process.execPath,
      ['--import', './scripts/typescript.js', program, String(requests), JSON.stringify(options)],
      { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
    t.equal(code, 0)
    const samples: number[] = JSON.parse(printed)
    t.comment(samples.map(bytes => (bytes / 1e6).toFixed(2)).join(' '))
    const [middle, end] = [samples[4], samples[9]]
    t.ok(end - middle < SOME, `it has grown by ${end - middle} bytes`)
  })
}
