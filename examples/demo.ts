import { buildDemo } from './demo/app.js'
import { settings } from './demo/settings.js'

try {
  const { port, ...options } = await settings(process.argv.slice(2), process.env)
  const app = await buildDemo({ ...options, logger: { level: 'warn' } })

  // A terminal may send the signal twice, to npm and to us: closing again is harmless.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { app.close() })

  const address = await app.listen({ port, host: '127.0.0.1' })
  console.log(`${address} keeps its sessions in ${options.storeName}. Stop with Ctrl-C.`)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
}
