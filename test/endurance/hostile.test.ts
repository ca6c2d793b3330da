import assert from 'node:assert/strict'
import type { FastifyInstance } from 'fastify'
import { test } from 'tap'
import type { Test } from 'tap'
import type { SessionOptions } from '../../lib/index.js'
import { TestClock } from '../../lib/testing/clock.js'
import { startApp } from '../helpers/app.js'
import type { CountingBackend } from '../helpers/backends.js'
import { counting, memoryBackend } from '../helpers/backends.js'
import { cookieOf, setCookies, watch } from '../helpers/stage.js'
import { heap } from './heap.js'
import { hostileHeader } from './hostile-cookies.js'
import { Random } from './random.js'
import { isLong, randomness, size } from './size.js'

const secret = 'a secret of the hostile requests, of 32 bytes'
const kinds: Record<string, SessionOptions> = {
  plain: {},
  signed: { secret },
  encrypted: { secret, encryption: true },
  sealed: { secret, store: { type: 'cookie' } },
  eager: { secret, load: 'eager' }
}
const requests = size(2000, 200_000)
/** With several cookies of the name, each of the first four is tried. */
const MAX_READS = 4
/** The median time of what is refused, at most, in those of a valid cookie. */
const MAX_RATIO = 2
/** That of a header of 16 kB, whose size alone costs: it is parsed before the session sees it. */
const MAX_RATIO_LARGE = 3
/** Characters of a header that only a large one has. */
const LARGE = 4000

interface Place { app: FastifyInstance, backend: CountingBackend }

/** What Fastify would refuse reaches the session here. */
const lenient = { onProtoPoisoning: 'ignore', onConstructorPoisoning: 'ignore' } as const

async function open (t: Test, options: SessionOptions): Promise<Place> {
  // No time goes by: no session is prolonged.
  const clock = new TestClock()
  const backend = counting(await memoryBackend(clock))
  const app = await startApp(t, { store: { type: 'custom', backend }, clock, ...options }, app => {
    app.get('/', async ({ session }) => (await session.load()).data())
    app.post('/', async ({ session, body }) => {
      await session.load()
      for (const [key, value] of Object.entries(body as object)) session.set(key, value)
      return session.data()
    })
  }, lenient)
  return { app, backend }
}

/** A cookie of a new session. */
async function begin ({ app }: Place): Promise<string> {
  return cookieOf(await app.inject({ method: 'POST', url: '/', payload: { owner: 'victim' } }))
}

for (const [kind, options] of Object.entries(kinds)) {
  test(`${kind}: ${requests} hostile cookies`, async t => {
    const random = new Random(randomness(t, 1, 1).seed)
    const place = await open(t, options)
    const { app, backend } = place
    const valid = await begin(place)
    const [name, value] = valid.split(/=(.*)/)
    const foreign = await begin(await open(t, { ...options, secret: 'another secret, of another application' }))
    const known = { name, values: [value, foreign.split(/=(.*)/)[1]] }
    const stored = await backend.count!()
    const rejected = watch(t, 'rejected')
    const times: Record<'hostile' | 'large' | 'valid', number[]> = { hostile: [], large: [], valid: [] }
    let full = 0
    let reads = 0

    const send = async (cookie: string, into: number[]) => {
      backend.calls.length = 0
      const begun = performance.now()
      const response = await app.inject({ url: '/', headers: { cookie } })
      if (into.length < 100_000) into.push(performance.now() - begun)
      return response
    }

    for (let i = 0; i < requests; i++) {
      const cookie = hostileHeader(random, known)
      const response = await send(cookie, cookie.length > LARGE ? times.large : times.hostile)
      const shown = JSON.stringify(cookie)
      assert.equal(response.statusCode, 200, shown)
      // In a header of several cookies the valid one may be among them.
      if (!isThere(cookie, name, value)) assert.equal(response.body, '{}', shown)
      assert.deepEqual(setCookies(response), [], shown)
      assert.ok(backend.calls.length <= MAX_READS && backend.calls.every(verb => verb === 'read'), shown)
      reads += backend.calls.length
      for (const { hash, reason } of rejected.splice(0)) assert.ok(!cookie.includes(`=${hash}`) && reason !== 'corrupt')
      if (i % 10 === 0) assert.equal((await send(valid, times.valid)).json().owner, 'victim')
      if (i === Math.floor(requests / 3)) full = await heap()
    }
    assert.equal(await backend.count!(), stored)
    const grown = (await heap()) - full
    t.ok(grown < 4e6, `the heap has grown by ${grown} bytes`)
    const usual = median(times.valid)
    const [slower, slowerLarge] = [times.hostile, times.large].map(these => median(these) / usual)
    t.ok(slower < MAX_RATIO, `the median of its time is ${slower.toFixed(2)} times that of a valid one`)
    if (isLong) t.ok(slowerLarge < MAX_RATIO_LARGE, `that of large headers is ${slowerLarge.toFixed(2)} times`)
    t.comment(`${reads} reads by ${requests} requests; the heap has grown by ${grown} bytes`)
  })

  test(`${kind}: hostile data`, async t => {
    const random = new Random(randomness(t, 1, 1).seed)
    const place = await open(t, options)
    const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'then', 'toJSON', '', '0', 'a.b']
    for (let i = 0; i < size(100, 10_000); i++) {
      const data = `{"x":1,${pairs(() => `{${pairs(() => '{"polluted":true}')}}`)}}`.replace(',}', '}')
      const headers = { 'content-type': 'application/json' }
      const response = await place.app.inject({ method: 'POST', url: '/', payload: data, headers })
      assert.equal(response.statusCode, 200, data)
      const again = await place.app.inject({ url: '/', headers: { cookie: cookieOf(response) } })
      assert.deepEqual(again.json(), JSON.parse(data))
    }
    assert.equal('polluted' in {}, false)
    t.pass('no prototype has changed')

    function pairs (make: () => string): string {
      return [...new Set(random.some(0, 4, () => random.oneOf(names)))]
        .map(name => `${JSON.stringify(name)}:${make()}`).join()
    }
  })
}

/** As browsers send it, and as lenient readers may find it. */
function isThere (header: string, name: string, value: string): boolean {
  return header.split(';').some(pair => {
    const [first, ...rest] = pair.split('=')
    return first.trim() === name && rest.join('=').trim() === value
  })
}

function median (times: number[]): number {
  return times.sort((a, b) => a - b)[times.length >> 1]
}
