import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Setup } from './contestant.js'
import type { Visit } from './data.js'
import cookie from '@fastify/cookie'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { randomBytes } from 'node:crypto'
import { ATTRIBUTES, LIFE } from './contestant.js'
import { visit } from './data.js'
import { addRoutes } from './routes.js'

/** Text in, text out, both with the life of a session. */
interface Shelf {
  get (id: string): Promise<string | null>
  set (id: string, text: string): Promise<unknown>
}

/**
 * Sessions as a careful hand writes them into an application, with nothing that the four routes do not need:
 * an id of 256 bits that is checked for its shape, one GET, JSON, one SET that sets the expiry anew.
 */
export async function buildFloor ({ store, redisUrl }: Setup) {
  const shelf = store === 'memory' ? memoryShelf() : redisShelf(redisUrl)
  const app = Fastify()
  await app.register(cookie)

  async function load (request: FastifyRequest): Promise<{ id: string, data: Visit }> {
    const id = request.cookies.sid
    const text = id !== undefined && /^[\w-]{43}$/.test(id) ? await shelf.get(id) : null
    if (text === null) throw new Error('no session')
    return { id: id!, data: JSON.parse(text) }
  }

  return addRoutes(app, {
    async read (request) {
      const { data } = await load(request)
      return { name: data.user.name }
    },
    async write (request) {
      const { id, data } = await load(request)
      data.count++
      await shelf.set(id, JSON.stringify(data))
      return { count: data.count }
    },
    async new (_request, reply: FastifyReply) {
      const id = randomBytes(32).toString('base64url')
      await shelf.set(id, JSON.stringify(visit()))
      reply.setCookie('sid', id, ATTRIBUTES)
      return { ok: true }
    }
  })
}

function memoryShelf (): Shelf {
  const entries = new Map<string, { text: string, expiresAt: number }>()
  return {
    async get (id) {
      const entry = entries.get(id)
      return entry !== undefined && entry.expiresAt > Date.now() ? entry.text : null
    },
    async set (id, text) {
      entries.set(id, { text, expiresAt: Date.now() + LIFE * 1000 })
    }
  }
}

function redisShelf (url: string): Shelf {
  const client = new Redis(url).on('error', () => {})
  return {
    get: id => client.get(`floor:${id}`),
    set: (id, text) => client.set(`floor:${id}`, text, 'PX', LIFE * 1000)
  }
}
