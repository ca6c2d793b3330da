import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { fileLocks } from '../../stores/file-lock.js'

const tmp = mkdtempSync(join(tmpdir(), 'file-lock-'))
t.teardown(() => rm(tmp, { recursive: true, force: true }))

const mode = 0o600
let paths = 0
const newPath = () => join(tmp, `lock${++paths}.lock`)
const newTicket = () => fileLocks({ mode }).temporary('').slice(1, -4)
const ticketOf = (pid: number | undefined, start?: string) => {
  const [host, , ownStart, nonce] = newTicket().split('.')
  return [host, pid, start ?? ownStart, nonce].join('.')
}
const deadTicket = () => ticketOf(spawnSync('true').pid)
const left = async (path: string) => (await readdir(tmp)).filter(name => join(tmp, name).startsWith(path))

/** Fails as soon as two work at once. */
function room (t: { fail (message: string): unknown }) {
  let inside = 0
  return async (milliseconds = 1) => {
    if (++inside > 1) t.fail('two hold the lock')
    await sleep(milliseconds)
    inside--
  }
}

t.test('one at a time, within an instance and between instances', async t => {
  const path = newPath()
  const work = room(t)
  const instances = [fileLocks({ mode }), fileLocks({ mode }), fileLocks({ mode })]
  await Promise.all(instances.map(async locks => {
    const order: number[] = []
    const calls = Array.from({ length: 20 }, (_, i) => i)
    await Promise.all(calls.map(i => locks.hold(path, async () => {
      order.push(i)
      await work()
    })))
    t.strictSame(order, calls, 'callers of one process in their order')
  }))
  t.strictSame(await left(path), [])
})

t.test('the result and the failure of the work come out, and the lock is free after both', async t => {
  const path = newPath()
  const { hold } = fileLocks({ mode })
  const failing = hold(path, async () => { throw new Error('of the work') })
  const next = hold(path, async () => (await stat(path)).mode & 0o777)
  await t.rejects(failing, { message: 'of the work' })
  t.equal(await next, mode)
  t.strictSame(await left(path), [])
})

t.test('the lock of a dead process is broken at once, by one of those who wait', async t => {
  for (let round = 0; round < 30; round++) {
    const path = newPath()
    const ticket = deadTicket()
    await writeFile(path, ticket)
    const breaker = `${path}.${createHash('sha256').update(ticket).digest('hex').slice(0, 12)}.lock`
    if (round % 3 === 0) await writeFile(breaker, deadTicket())
    const work = room(t)
    const begun = performance.now()
    await Promise.all(Array.from({ length: 6 }, () => fileLocks({ mode }).hold(path, () => work(round % 4))))
    t.ok(performance.now() - begun < 5000, 'before any lease is over')
    t.strictSame(await left(path), [])
  }
})

t.test('a process id that was given to another process does not keep a lock', async t => {
  const path = newPath()
  await writeFile(path, ticketOf(process.pid, '1'))
  t.equal(await fileLocks({ mode, patience: 5000 }).hold(path, async () => 'held'), 'held')
})

t.test('a process that ended and waits for its parent does not keep a lock', { skip: process.platform !== 'linux' }, async t => {
  // A shell might take note of a child that ends, before it becomes a program that never does.
  const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'])
  t.teardown(() => parent.kill())
  const [line] = await once(parent.stdout, 'data')
  const pid = Number(line)
  while (await readFile(`/proc/${parent.pid}/comm`, 'utf8') !== 'sleep\n') await sleep(5)
  process.kill(pid, 'SIGKILL')
  const fields = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1].split(' ')
  while ((await fields())[0] !== 'Z') await sleep(5)
  const path = newPath()
  await writeFile(path, ticketOf(pid, (await fields())[19]))
  t.equal(await fileLocks({ mode, patience: 5000 }).hold(path, async () => 'held'), 'held')
})

t.test('a living process keeps its lock, however long; who waits gives up with an error', async t => {
  const path = newPath()
  const { hold } = fileLocks({ mode, lease: 1, patience: 60 })
  await fileLocks({ mode }).hold(path, async () => {
    const failure: unknown = await hold(path, async () => t.fail('held by two')).catch(error => error)
    t.match(failure, {
      code: 'FST_SESSIONS_STORE',
      message: `the session store failed: a session file stays locked by another process (${process.pid})`
    })
    t.equal((await left(path)).length, 1)
  })
  t.equal(await hold(path, async () => 'free'), 'free')
})

t.test('a lock that nobody can be asked about is broken after the lease', async t => {
  for (const ticket of ['elsewhere.1.1.nonce', '', 'garbage']) {
    const path = newPath()
    await writeFile(path, ticket)
    await t.rejects(fileLocks({ mode, patience: 30 }).hold(path, async () => {}), /locked by another process/)
    const begun = performance.now()
    t.equal(await fileLocks({ mode, lease: 50 }).hold(path, async () => 'held'), 'held')
    t.ok(performance.now() - begun > 50)
    t.strictSame(await left(path), [])
  }
})

t.test('a holder on another host that was given up does not release the next one\'s lock', async t => {
  const path = newPath()
  const here = fileLocks({ mode, lease: 40 })
  const elsewhere = fileLocks({ mode, lease: 40, proc: '/nowhere' })
  let nextIsIn = () => {}
  let firstIsOut = () => {}
  const untilNextIsIn = new Promise<void>(resolve => { nextIsIn = resolve })
  const untilFirstIsOut = new Promise<void>(resolve => { firstIsOut = resolve })
  const first = elsewhere.hold(path, () => untilNextIsIn)
  await sleep(5)
  const next = here.hold(path, async () => {
    nextIsIn()
    await untilFirstIsOut
    t.strictSame((await left(path)).length, 1, 'still locked')
  })
  await first
  firstIsOut()
  await next
  t.strictSame(await left(path), [])
})

t.test('without a process table: the dead are told by their id, others by the lease', async t => {
  const locks = () => fileLocks({ mode, lease: 60, patience: 5000, proc: '/nowhere' })
  const [host, , start, nonce] = locks().temporary('').slice(1).split('.')
  t.equal(start, '')
  for (const [pid, least] of [[spawnSync('true').pid, 0], [process.pid, 60]]) {
    const path = newPath()
    await writeFile(path, [host, pid, '', nonce].join('.'))
    const begun = performance.now()
    t.equal(await locks().hold(path, async () => 'held'), 'held')
    t.ok(performance.now() - begun >= least)
  }
})

t.test('tidy leaves alone what vanishes meanwhile', async t => {
  await fileLocks({ mode }).tidy(newPath(), Infinity)
  await fileLocks({ mode }).tidy(newPath() + '.tmp', Infinity)
  t.pass()
})
