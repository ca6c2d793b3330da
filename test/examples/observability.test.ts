import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'tap'

const root = join(import.meta.dirname, '..', '..')

const spans = `
POST /basket
  * session.created
  session.load none
  session.commit create
POST /basket
  session.load found
  session.commit update
POST /basket
  session.load found
  session.commit update
POST /login
  * session.rotated
  session.load found
  session.commit rotate
POST /basket
  session.load found
  session.commit update failed
    * exception
POST /logout
  * session.destroyed
  session.load found
  session.destroy destroy
GET /basket
  * session.rejected unknown
  session.load none
GET /basket
  * session.rejected signature
  session.load none
GET /metrics
`.trim()

test('spans of sessions stand below those of requests, and /metrics counts them', async t => {
  const program = ['--import', './scripts/typescript.js', 'examples/observability.ts']
  const { stdout, stderr } = await promisify(execFile)(process.execPath, program, { cwd: root })
  t.equal(stderr, '')
  const [printed, metrics] = stdout.split('\n\n# HELP sessions_events_total')
  t.equal(printed, spans)

  const counted = (name: string) => {
    return Object.fromEntries([...metrics.matchAll(new RegExp(`^${name}{(.*)} (\\d+)$`, 'gm'))].map(([, labels, n]) => {
      return [[...labels.matchAll(/"(.*?)"/g)].map(([, value]) => value).join(' ').trimEnd(), Number(n)]
    }))
  }
  t.strictSame(counted('sessions_events_total'), {
    'session created': 1,
    'session rotated': 1,
    'session destroyed': 1,
    'session rejected unknown': 1,
    'session rejected signature': 1
  })
  t.strictSame(counted('sessions_operation_seconds_count'), {
    'load session none': 3,
    'load session found': 5,
    'commit session create': 1,
    'commit session update': 2,
    'commit session rotate': 1,
    'commit session error': 1,
    'destroy session destroy': 1
  })
  t.notMatch(metrics, /[\w-]{43}/, 'no hash is a label')
})
