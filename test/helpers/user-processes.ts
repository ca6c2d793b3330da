import assert from 'node:assert/strict'
import type { FourProcesses } from './processes.js'
import { startWorker } from './processes.js'
import { openWorkerApp } from './worker-app.js'

const MAX = 3

/** U4: the logins of one user in four processes at once. */
export function userProcesses ({ test, name, store, rounds = 8 }: FourProcesses): void {
  for (const onMaxPerUser of ['evict', 'refuse'] as const) {
    test(`U4 ${name}: four processes, ${onMaxPerUser}`, async () => {
      const data = await store()
      const options = { maxPerUser: MAX, onMaxPerUser }
      const workers = await Promise.all(Array.from({ length: 4 }, () => startWorker(data, options)))
      const app = await openWorkerApp(data, options)
      const logIn = () => app.inject('/login')
      try {
        await app.ready()
        for (let round = 0; round < rounds; round++) {
          const paths = ['/login', '/login', '/login']
          const answers = (await Promise.all(workers.map(worker => worker.send({ paths, cookie: '' })))).flat()
          for (const { status } of answers) assert.ok(status === 200 || status === 409, `status ${status}`)
          const admitted = answers.filter(({ status }) => status === 200).length
          const alive = (await app.sessions.listByUser('ada')).length
          if (onMaxPerUser === 'evict') assert.equal(alive, MAX)
          else assert.equal(alive, admitted)
          assert.ok(alive <= MAX, `${alive} are alive`)

          for (let n = alive; n < MAX; n++) assert.equal((await logIn()).statusCode, 200)
          assert.equal((await logIn()).statusCode, onMaxPerUser === 'evict' ? 200 : 409)
          assert.equal((await app.sessions.listByUser('ada')).length, MAX)
          assert.equal(await app.sessions.destroyByUser('ada'), MAX)
        }
      } finally {
        await app.close()
        await Promise.all(workers.map(worker => worker.end()))
      }
    })
  }
}
