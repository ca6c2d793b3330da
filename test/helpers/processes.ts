import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SessionOptions } from '../../lib/index.js'
import { setCookies } from './stage.js'
import type { Answer, Task, StoreData } from './worker-app.js'
import { openWorkerApp } from './worker-app.js'

export interface FourProcesses {
  /** Registers one story: `test` of tap or node:test. */
  test: (name: string, run: () => Promise<void>) => unknown
  /** Put before each story's name. */
  name: string
  /** The store as data, on a running engine, in a space of its own. Called when the story runs. */
  store (): StoreData | Promise<StoreData>
  /** How much is tried, where it is not the usual. */
  counts?: number
  rounds?: number
}

const PROCESSES = 4
/** Requests that a process sends at once. */
const EACH = 13

/** R11: applications in four processes share one store, and send requests of one browser in parallel. */
export function fourProcesses (
  { test, name, store, counts = PROCESSES * EACH, rounds = 15 }: FourProcesses
): void {
  test(`R11 ${name}: four processes`, async () => {
    const data = await store()
    const started = await Promise.allSettled(Array.from({ length: PROCESSES }, () => startWorker(data)))
    const workers = started.flatMap(result => result.status === 'fulfilled' ? [result.value] : [])
    const app = await openWorkerApp(data)
    const here = async (path: string, cookie = '') => {
      const response = await app.inject({ url: path, headers: { cookie } })
      assert.equal(response.statusCode, 200, `${path}: ${response.body}`)
      const [set = ''] = setCookies(response)
      return { ...response.json(), cookie: set.split(';')[0] }
    }
    const everywhere = (paths: string[], cookie: string) => {
      const answers = Promise.all(workers.map(worker => worker.send({ paths, cookie })))
      return answers.then(all => all.flat())
    }

    try {
      assert.equal(workers.length, PROCESSES, 'every process has started')
      await differentKeys()
      await counting()
      await logout()
      await logins()
    } finally {
      await app.close()
      await Promise.all(workers.map(worker => worker.end()))
    }

    async function differentKeys () {
      const { cookie } = await here('/set/mine')
      const answers = await Promise.all(workers.map((worker, i) => {
        const paths = Array.from({ length: EACH }, (_, n) => `/set/key-${i}-${n}`)
        return worker.send({ paths, cookie })
      }))
      for (const answer of answers.flat()) assert.deepEqual(answer, { status: 200, cookies: [] })
      const { data } = await here('/', cookie)
      assert.equal(Object.keys(data).length, PROCESSES * EACH + 1, 'R4 each request kept its key')
    }

    async function counting () {
      const { cookie } = await here('/set/mine')
      let sent = 0
      while (sent < counts) {
        const answers = await everywhere(Array(EACH).fill('/count'), cookie)
        for (const answer of answers) assert.deepEqual(answer, { status: 200, cookies: [] })
        sent += answers.length
      }
      const { data } = await here('/', cookie)
      assert.deepEqual(data, { mine: 1, count: sent }, 'R5 no step is lost, none counted twice')
    }

    async function logout () {
      for (let round = 0; round < rounds; round++) {
        const { cookie } = await here('/set/mine')
        const writing = everywhere(['/count', '/set/late', '/touch', '/clear'], cookie)
        await sleep(Math.random() * 10)
        await here('/logout', cookie)
        for (const { status, cookies } of await writing) {
          assert.equal(status, 200)
          assert.ok(cookies.every(line => line.includes('Max-Age=0')), 'R1 no response brings the cookie back')
        }
        assert.deepEqual((await here('/', cookie)).data, {}, 'R1 nor the session')
      }
    }

    async function logins () {
      for (let round = 0; round < rounds; round++) {
        const { cookie } = await here('/set/mine')
        const answers = await everywhere(['/login', '/count'], cookie)
        const [logins, counts] = [0, 1].map(kind => answers.filter((_, i) => i % 2 === kind))
        for (const { status } of counts) assert.equal(status, 200)
        // Of those that find the session, one gets it, and the others are told; who comes later finds none.
        for (const { status } of logins) assert.ok(status === 200 || status === 409, `status ${status}`)
        const rotated = answers.flatMap(({ cookies }) => cookies)
        assert.equal(rotated.length, 1, 'R3 one login wins, and no other response touches its cookie')
        assert.deepEqual((await here('/', cookie)).data, {}, 'L1 the old id is dead')
        const found = await here('/', rotated[0].split(';')[0])
        assert.equal(found.principal, 'ada')
        assert.equal(found.data.mine, 1)
      }
    }
  })
}

export interface Worker {
  send (task: Task): Promise<Answer[]>
  /** Resolves when the process has ended by itself. */
  end (): Promise<void>
}

export async function startWorker (data: StoreData, options: SessionOptions = {}): Promise<Worker> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'worker.ts'), [JSON.stringify([data, options])], {
    execArgv: ['--import', './scripts/typescript.js'], serialization: 'advanced'
  })
  const ended = once(child, 'exit')
  const answer = async <T>(): Promise<T> => {
    const [first] = await Promise.race([once(child, 'message'), ended])
    if (first === null || typeof first === 'number') throw new Error(`a worker ended: ${first}`)
    return first
  }
  await answer()
  return {
    send (task) {
      child.send(task)
      return answer<Answer[]>()
    },
    async end () {
      child.disconnect()
      const late = setTimeout(() => child.kill('SIGKILL'), 20_000)
      const [code] = await ended
      clearTimeout(late)
      assert.equal(code, 0, 'it ends by itself')
    }
  }
}
