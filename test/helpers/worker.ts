import type { Answer, Task } from './worker-app.js'
import { setCookies } from './stage.js'
import { openWorkerApp } from './worker-app.js'

/** A process of its own with an application. The first argument tells its store and options, as JSON. */
const app = await openWorkerApp(...JSON.parse(process.argv[2]) as Parameters<typeof openWorkerApp>)
await app.ready()

process.on('message', async ({ paths, cookie }: Task) => {
  const responses = await Promise.all(paths.map(url => app.inject({ url, headers: { cookie } })))
  const answers: Answer[] = responses.map(response => {
    return { status: response.statusCode, cookies: setCookies(response) }
  })
  process.send!(answers)
})
process.on('disconnect', () => app.close())
process.send!('ready')
