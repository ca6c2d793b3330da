import type { FastifyInstance } from 'fastify'
import type { RequestListener } from 'node:http'
import type { RouteName } from './routes.js'

export type StoreName = 'memory' | 'redis'

export interface Setup {
  store: StoreName
  /** Where Redis is; only asked for by contestants on Redis. */
  redisUrl: string
  /** The built package, as a folder. */
  dist: string
}

export interface Contestant {
  name: string
  /** What it can keep sessions in. */
  stores: readonly StoreName[]
  routes: readonly RouteName[]
  build (setup: Setup): Promise<FastifyInstance | RequestListener>
}

export const everyStore: readonly StoreName[] = ['memory', 'redis']
export const everyRoute: readonly RouteName[] = ['plain', 'read', 'write', 'new']

/** Seconds that sessions live, everywhere. */
export const LIFE = 1800
/** Of the cookies that are set by hand. */
export const ATTRIBUTES = { path: '/', httpOnly: true, secure: true, sameSite: 'lax' } as const
/** For those who sign or seal. */
export const SECRET = 'a secret of the benchmark, 32 bytes or more'
