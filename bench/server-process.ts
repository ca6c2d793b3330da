import type { Order, Question } from './server.js'
import type { RouteName } from './routes.js'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')

/** A contestant that listens. */
export interface Served {
  port: number
  ask (question: Question): Promise<number | null>
  /** The cookies of new sessions. */
  visitors (count: number): Promise<string[]>
  stop (): Promise<void>
}

/** @param prefix what the program is run by, as `taskset` */
export async function serve (order: Order, prefix: string[], ...flags: string[]): Promise<Served> {
  const [program, ...args] = [
    ...prefix, process.execPath, ...flags,
    '--import', './scripts/typescript.js', join(root, 'bench/server.ts'), JSON.stringify(order)
  ]
  const child = spawn(program, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production' }
  })
  const ended = once(child, 'exit')
  const answer = () => Promise.race([
    once(child, 'message').then(([value]) => value as number | null),
    ended.then(() => { throw new Error(`the server of '${order.contestant}' has ended`) })
  ])
  const port = await answer() as number

  return {
    port,
    ask (question) {
      const answered = answer()
      child.send(question)
      return answered
    },
    visitors: count => Promise.all(Array.from({ length: count }, () => cookieOf(port))),
    async stop () {
      child.disconnect()
      await ended
    }
  }
}

export async function cookieOf (port: number): Promise<string> {
  const response = await fetch(urlOf(port, 'new'))
  const cookies = response.headers.getSetCookie()
  if (cookies.length !== 1) throw new Error(`${cookies.length} cookies, status ${response.status}`)
  return cookies[0].split(';')[0]
}

export function urlOf (port: number, route: RouteName): string {
  return `http://127.0.0.1:${port}/${route}`
}
