import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes in use, when all that nobody needs is gone. */
export async function heap (): Promise<number> {
  for (let i = 0; i < 3; i++) {
    // What was only waiting for the end of a turn of the event loop.
    await setImmediate()
    collect()
  }
  return process.memoryUsage().heapUsed
}
