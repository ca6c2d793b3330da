import type { Prompt, SessionBackend } from '../../types/store.js'
import type { Clock } from '../base/clock.js'
import type { StoreLog } from '../define-store.js'
import { withinTime } from '../base/time-limit.js'
import { driverCause } from '../errors.js'

const BATCH = 500

export interface SweeperSettings {
  /** Seconds; null: never. */
  sweepInterval: number | null
  /** Seconds that a batch may take. */
  storeTimeout: number
  clock: Clock
  log: StoreLog
}

export interface Sweeper {
  /** Starts the timer, once. */
  start (): void
  /** Stops, and resolves when the batch at work is done or has taken too long. */
  stop (): Promise<void>
}

/**
 * Removes expired records from time to time, in batches, for a backend that can. The timer does not keep the
 * process alive; several instances do not meet, because each waits a little differently.
 */
export function createSweeper (backend: Prompt<SessionBackend>, settings: SweeperSettings): Sweeper {
  const { sweepInterval, storeTimeout, clock, log } = settings
  const stopping = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let working: Promise<void> = Promise.resolve()

  function schedule (seconds: number) {
    if (stopping.signal.aborted) return
    timer = setTimeout(() => {
      working = sweep().then(() => schedule(seconds))
    }, seconds * 1000 * (0.75 + Math.random() / 2))
    timer.unref()
  }

  async function sweep () {
    try {
      let removed = BATCH
      while (removed === BATCH && !stopping.signal.aborted) {
        removed = await withinTime(storeTimeout, async () => backend.sweep!(clock.now(), BATCH))
      }
    } catch (error) {
      log.warn({ err: driverCause(error) }, 'expired sessions were not removed; the next attempt follows')
    }
  }

  return {
    start () {
      const isAble = sweepInterval !== null && backend.sweep !== undefined
      if (isAble && timer === undefined) schedule(sweepInterval)
    },
    async stop () {
      stopping.abort()
      clearTimeout(timer)
      await withinTime(storeTimeout, () => working).catch(() => {})
    }
  }
}
