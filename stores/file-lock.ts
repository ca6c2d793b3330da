import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { link, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { inTurn } from '../lib/define-store.js'
import { StoreError } from '../lib/errors.js'

/**
 * Mutual exclusion between processes that share a directory, without a server: a lock is a file that a hard
 * link puts in place, which succeeds for one process only, together with its content. The content is a ticket
 * that tells who holds the lock, so that the lock of a process that died can be told from one in use.
 */
export interface FileLocks {
  /**
   * Runs `work` while nobody else, in this process or another, runs work under the same path.
   *
   * @throws FST_SESSIONS_STORE when the lock stays taken for too long
   */
  hold<T> (path: string, work: () => Promise<T>): Promise<T>
  /** A new name for a temporary file beside `path`; it ends in `.tmp` and tells whose it is. */
  temporary (path: string): string
  /**
   * Removes a lock or a temporary file if the process that made it is dead, or cannot be asked and left it
   * unchanged since `before` (milliseconds since the epoch).
   */
  tidy (path: string, before: number): Promise<void>
}

export interface FileLockOptions {
  /** Permissions of lock files. */
  mode: number
  /** Milliseconds after which a lock is broken whose holder cannot be asked, being on another host. */
  lease?: number
  /** Milliseconds to wait for a lock. */
  patience?: number
  /** Where the system shows its processes. Where there is no such thing, process ids alone must do. */
  proc?: string
}

type Fate = 'alive' | 'dead' | 'unknown'

export function fileLocks ({ mode, lease = 10_000, patience = 20_000, proc = '/proc' }: FileLockOptions): FileLocks {
  const host = hostOf(proc)
  const start = startOf(proc, process.pid)?.time ?? ''
  const queue = inTurn()

  function hold<T> (path: string, work: () => Promise<T>): Promise<T> {
    return queue(path, async () => {
      const ticket = newTicket()
      await take(path, ticket)
      const taken = performance.now()
      try {
        return await work()
      } finally {
        // Nobody breaks a living holder's lock before the lease is over; after that it may be another's.
        if (performance.now() - taken < lease || await ticketAt(path) === ticket) await unlink(path)
      }
    })
  }

  async function take (path: string, ticket: string): Promise<void> {
    const own = `${path}.${ticket}.tmp`
    const begun = performance.now()
    let seen: string | null = null
    let since = begun
    await writeFile(own, ticket, { flag: 'wx', mode })
    try {
      for (let pause = 2; await unless('EEXIST', link(own, path)) === null; pause = Math.min(pause * 2, 20)) {
        const holder = await ticketAt(path)
        const now = performance.now()
        if (holder !== seen) since = now
        seen = holder
        if (holder !== null && isOver(fateOf(holder), now - since > lease)) await clear(path, holder)
        else if (now - begun > patience) throw stuck(holder)
        else await sleep(Math.random() * pause)
      }
    } finally {
      await unless('ENOENT', unlink(own))
    }
  }

  /**
   * Two that find the same dead lock must not both remove it: the second would remove the next holder's. So
   * the removal has a lock of its own, named after the dead ticket. Tickets never come back, and while this
   * one is in place nobody but the holder of that lock removes it.
   */
  async function clear (path: string, ticket: string): Promise<void> {
    await hold(`${path}.${digest(ticket)}.lock`, async () => {
      if (await ticketAt(path) === ticket) await unlink(path)
    })
  }

  async function tidy (path: string, before: number): Promise<void> {
    const isLock = path.endsWith('.lock')
    const ticket = isLock ? await readFile(path, 'utf8') : path.split('.').slice(-5, -1).join('.')
    if (!isOver(fateOf(ticket), (await stat(path)).ctimeMs < before)) return
    await (isLock ? clear(path, ticket) : unlink(path))
  }

  function newTicket (): string {
    return [host, process.pid, start, randomBytes(9).toString('base64url')].join('.')
  }

  function fateOf (ticket: string): Fate {
    const [ticketHost, pid, ticketStart] = ticket.split('.')
    if (ticketHost !== host) return 'unknown'
    if (!isProcess(Number(pid))) return 'dead'
    // The id may have been given to another process since; its start time tells.
    const found = startOf(proc, Number(pid))
    if (found === null) return 'unknown'
    return found.time === ticketStart && !found.ended ? 'alive' : 'dead'
  }

  return {
    hold,
    temporary: path => `${path}.${newTicket()}.tmp`,
    tidy: async (path, before) => { await unless('ENOENT', tidy(path, before)) }
  }
}

function isOver (fate: Fate, late: boolean): boolean {
  return fate === 'dead' || (fate === 'unknown' && late)
}

function stuck (holder: string | null): Error {
  const pid = holder?.split('.')[1] ?? 'unknown'
  return new StoreError(`a session file stays locked by another process (${pid})`)
}

/** Process ids mean something only on one machine, until it restarts, inside one container. */
function hostOf (proc: string): string {
  const boot = quietly(() => readFileSync(`${proc}/sys/kernel/random/boot_id`, 'utf8'))
  const space = quietly(() => readlinkSync(`${proc}/self/ns/pid`))
  return digest(`${hostname()} ${boot} ${space}`)
}

/** See proc(5): the fields after the command's name, which is in parentheses and may hold anything. */
function startOf (proc: string, pid: number): { time: string, ended: boolean } | null {
  const line = quietly(() => readFileSync(`${proc}/${pid}/stat`, 'utf8'))
  if (line === null) return null
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  return { time: fields[19], ended: /[ZX]/.test(fields[0]) }
}

function isProcess (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) !== 'ESRCH'
  }
}

function ticketAt (path: string): Promise<string | null> {
  return unless('ENOENT', readFile(path, 'utf8'))
}

function digest (text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}

function quietly<T> (read: () => T): T | null {
  try {
    return read()
  } catch {
    return null
  }
}

function codeOf (error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

/** Null in place of a failure of this code. */
export async function unless<T> (code: string, action: Promise<T>): Promise<T | null> {
  try {
    return await action
  } catch (error) {
    if (codeOf(error) === code) return null
    throw error
  }
}
