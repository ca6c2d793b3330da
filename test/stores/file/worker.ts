import { fileStore } from '../../../stores/file.js'
import { openBackend } from '../../../lib/testing/open-store.js'

/** A process of its own that works on a directory of the tests. Says what it did on its standard output. */
const [job, directory, ...keys] = process.argv.slice(2)
const { backend, close } = await openBackend(fileStore({ directory }))
const index = { principal: null, createdAt: 0 }
const record = (value: string) => ({ value, version: `${process.pid}-${value}-${Math.random()}`, expiresAt: Date.now() + 600_000 })
const say = (text: string) => process.stdout.write(text + '\n')

/** One step of a counter; false: somebody else was faster. */
async function increment (key: string) {
  const found = await backend.read(key)
  if (found === null) return 'missing'
  return backend.update(key, record(String(Number(found.value) + 1)), index, found.version)
}

const jobs: Record<string, () => Promise<void>> = {
  async count () {
    let conflicts = 0
    for (let done = 0; done < 50;) {
      if (await increment(keys[0]) === 'ok') done++
      else conflicts++
    }
    say(String(conflicts))
  },

  /** Writes each key over and over, until it is removed. */
  async write () {
    for (const key of keys) {
      say('start ' + key)
      while (await increment(key) !== 'missing');
    }
  },

  /** Writes all keys at once for ever, and says what it has written. The value repeats, to be seen whole. */
  async flood () {
    await Promise.all(keys.map(async (key, i) => {
      for (let round = 1; ; round++) {
        const found = await backend.read(key)
        const value = `${round} `.repeat(2000)
        if (found === null) await backend.create(key, record(value), index)
        else await backend.update(key, record(value), index, found.version)
        say(`${i} ${round}`)
        if (round % 50 === 0) await backend.remove(key)
        else if (round % 10 === 0) await backend.touch(key, Date.now() + 700_000)
      }
    }))
  },

  /** Tries a value larger than the file size that the process may write. */
  async overflow () {
    process.on('SIGXFSZ', () => {})
    const failure = await backend.create(keys[0], record('x'.repeat(1_000_000)), index).catch(error => error)
    say(failure.code)
  }
}

await jobs[job]()
await close()
