import { channel } from 'node:diagnostics_channel'
import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import type { LightMyRequestResponse } from 'fastify'
import { setCookies } from './stage.js'

const events = ['created', 'rotated', 'destroyed', 'rejected', 'expired', 'corrupt', 'conflict', 'gone', 'failure']
const traces = ['load', 'commit', 'destroy'].flatMap(operation => {
  return ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map(step => `tracing:fastify-sessions:${operation}:${step}`)
})
/** All that the package publishes on. */
export const channels = [...events.map(event => `fastify-sessions:${event}`), ...traces]

/** Hears all that leaves a process, and knows what must not be part of it. */
export interface Ear {
  /** For Fastify: everything is logged. */
  readonly logger: { level: 'trace', stream: { write (line: string): void } }
  /** The channels, and the texts and reasons of log lines, that were heard. */
  readonly heard: Set<string>
  /** The codes of the errors that were heard. */
  readonly codes: () => Set<string>
  /** Makes something up that must stay inside. */
  secret (name: string): string
  /** This must stay inside. */
  hide (...secrets: string[]): void
  /** This has left. */
  note (...what: unknown[]): void
  /** A response has left. Its cookies are for the browser alone: they must not be anywhere else. */
  response (response: LightMyRequestResponse): void
  /** Runs it, and notes what it throws. */
  listen<T> (work: () => T | Promise<T>): Promise<T | undefined>
  /** How many secrets there were, and those that were heard, in any spelling. */
  verdict (): { secrets: number, leaked: string[] }
}

export function openEar (t: { teardown (end: () => unknown): void }): Ear {
  const notes: string[] = []
  const secrets = new Set<string>()
  const heard = new Set<string>()
  const note = (...what: unknown[]) => {
    for (const it of what) {
      notes.push(typeof it === 'string' ? it : inspect(it, { depth: null, maxArrayLength: null, maxStringLength: null }))
    }
  }
  for (const name of channels) {
    const listener = (message: unknown) => {
      heard.add(name)
      note(message)
    }
    channel(name).subscribe(listener)
    t.teardown(() => channel(name).unsubscribe(listener))
  }

  const ear: Ear = {
    heard,
    note,
    logger: {
      level: 'trace',
      stream: {
        write (line) {
          const { msg, reason } = JSON.parse(line)
          heard.add(msg).add(reason)
          note(line)
        }
      }
    },
    codes: () => new Set(notes.join().match(/FST_SESSIONS_[A-Z_]+/g)),
    secret (name) {
      const made = `${name}-${randomBytes(12).toString('hex')}`
      ear.hide(made)
      return made
    },
    hide (...hidden) {
      for (const it of hidden) if (it !== '') secrets.add(it)
    },
    response (response) {
      for (const line of setCookies(response)) ear.hide(...spoken(line.split(';')[0]))
      const { 'set-cookie': _theirs, ...headers } = response.headers
      note(response.body, headers)
    },
    async listen (work) {
      try {
        return await work()
      } catch (error) {
        note(error)
      }
    },
    verdict () {
      const all = notes.join('\n')
      const leaked = [...secrets].filter(secret => spellings(secret).some(it => all.includes(it)))
      return { secrets: secrets.size, leaked }
    }
  }
  return ear
}

/** What is in a cookie: its value, and the id and the signature by themselves. */
export function spoken (cookie: string): string[] {
  const value = cookie.slice(cookie.indexOf('=') + 1)
  return [value, ...value.split('.')]
}

function spellings (secret: string): string[] {
  const bytes = Buffer.from(secret)
  const raw = Buffer.from(secret, 'base64url')
  return [
    secret, encodeURIComponent(secret), bytes.toString('hex'), raw.toString('hex'),
    bytes.toString('base64').replace(/=*$/, ''), bytes.toString('base64url')
  ]
}
