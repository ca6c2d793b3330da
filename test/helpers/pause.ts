import type { LightMyRequestResponse as Response } from 'fastify'
import type { Script, Stage } from './stage.js'

/** Something that is waited for until the test says so. */
export interface Signal {
  readonly given: Promise<void>
  give (): void
}

export function signal (): Signal {
  let give!: () => void
  const given = new Promise<void>(resolve => { give = resolve })
  return { given, give }
}

export interface HeldVisit {
  /** Runs what the handler still has to do; resolves to the response. */
  finish (script?: Script): Promise<Response>
}

/** A request that has loaded its session, done what `before` says, and stands still. */
export async function heldVisit (
  stage: Stage, cookie: string, before: Script = () => {}
): Promise<HeldVisit> {
  const arrived = signal()
  const released = signal()
  let after: Script = () => 'done'
  const response = stage.visit(cookie, async (session, request, reply) => {
    await before(session, request, reply)
    arrived.give()
    await released.given
    return await after(session, request, reply) ?? 'done'
  })
  // A handler that throws before it stands still.
  await Promise.race([arrived.given, response])
  return {
    finish (script = after) {
      after = script
      released.give()
      return response
    }
  }
}
