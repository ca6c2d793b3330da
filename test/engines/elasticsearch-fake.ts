import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Refusal, badRequest, routes } from './elasticsearch-fake-api.js'
import type { Index, Reply } from './elasticsearch-fake-api.js'
import type { Engine } from './engine.js'

/**
 * A FAKE of Elasticsearch, for there is none to be had: indexes, documents with sequence numbers and
 * conditional writes, searches that see what was there at the last refresh. What it does not know is an
 * error.
 */

/** The releases of the API that it speaks, as clients ask for them in the media type. */
const releases = ['8', '9']

export type Fake = Required<Engine>

/** Starts the fake on 127.0.0.1. Stopping it keeps what is stored, as on a disk. */
export async function startFake (t: { teardown (end: () => unknown): void }): Promise<Fake> {
  const indexes = new Map<string, Index>()
  let server: Server
  let port = 0
  let silence: Promise<void> | undefined
  let speak = () => {}

  async function start () {
    server = createServer((request, response) => {
      answer(request, response).catch(() => response.destroy())
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
    for (const index of indexes.values()) index.term++
  }

  async function stop () {
    resume()
    const closed = server.listening ? once(server, 'close') : undefined
    server.close()
    server.closeAllConnections()
    await closed
  }

  async function pause () {
    silence = new Promise(resolve => { speak = resolve })
  }

  async function resume () {
    speak()
    silence = undefined
  }

  async function answer (request: IncomingMessage, response: ServerResponse) {
    const body = await text(request)
    await silence
    const reply = await handle(request, body).catch(error => {
      if (error instanceof Refusal) return error.reply
      throw error
    })
    const release = releaseOf(request.headers.accept)
    const type = release === undefined
      ? 'application/json'
      : `application/vnd.elasticsearch+json;compatible-with=${release}`
    response.writeHead(reply.status, { 'x-elastic-product': 'Elasticsearch', 'content-type': type })
    response.end(request.method === 'HEAD' ? undefined : JSON.stringify(reply.body))
  }

  async function handle ({ method = '', url = '', headers }: IncomingMessage, text: string): Promise<Reply> {
    for (const asked of [releaseOf(headers.accept), releaseOf(headers['content-type'])]) {
      if (asked !== undefined && !releases.includes(asked)) throw badRequest('media_type_header_exception', asked)
    }
    const { pathname, searchParams } = new URL(url, 'http://fake')
    const [name, api, id, ...rest] = pathname.slice(1).split('/').map(decodeURIComponent)
    const route = routes[[`${method} /index`, api, id === undefined ? undefined : 'id'].filter(Boolean).join('/')]
    if (route === undefined || rest.length > 0) {
      throw badRequest('illegal_argument_exception', `the fake has no ${method} ${pathname}`)
    }
    const query = Object.fromEntries(searchParams)
    const odd = Object.keys(query).find(parameter => !route.query?.includes(parameter))
    if (odd !== undefined) {
      throw badRequest('illegal_argument_exception', `request [${pathname}] contains unrecognized parameter: [${odd}]`)
    }
    return route.run({ indexes, name, id, query, body: text === '' ? {} : JSON.parse(text) })
  }

  t.teardown(stop)
  await start()
  return { url: `http://127.0.0.1:${port}`, port, control: { start, stop, kill: stop, pause, resume } }
}

function releaseOf (type = ''): string | undefined {
  return /vnd\.elasticsearch\+json; ?compatible-with=(\d+)/.exec(type)?.[1]
}
