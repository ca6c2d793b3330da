import type { preHandlerAsyncHookHandler } from 'fastify'
import { NotFreshError, OptionError } from '../errors.js'

/**
 * A preHandler for what needs a recent login: a change of the password, a payment (OWASP ASVS 7.5.1).
 *
 * @param seconds since `session.login()`
 * @throws FST_SESSIONS_NOT_FRESH (401), in requests whose login is as long ago or longer, or that have none
 * @throws FST_SESSIONS_OPTION at once, when `seconds` is not a number greater than 0
 */
export function requireFresh (seconds: number): preHandlerAsyncHookHandler {
  if (!(seconds > 0)) throw new OptionError('requireFresh() takes a number of seconds greater than 0')
  return async function requireFreshLogin (request) {
    const session = await request.session.load()
    if (!request.server.sessions.isFresh(session, seconds)) throw new NotFreshError()
  }
}
