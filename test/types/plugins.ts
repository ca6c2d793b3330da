// Never run. Compiled by `npm run types` and, with the types of all packages checked, by
// test/plugins/types.test.ts: the plugins that sit on a session, beside ours.
import cookie from '@fastify/cookie'
import csrf from '@fastify/csrf-protection'
import flash from '@fastify/flash'
import oauth2 from '@fastify/oauth2'
import type { OAuth2Namespace } from '@fastify/oauth2'
import passport from '@fastify/passport'
import Fastify from 'fastify'
import sessions from 'fastify-sessions'
import type { Session } from 'fastify-sessions'

declare module 'fastify' {
  interface FastifyInstance { provider: OAuth2Namespace }
  interface PassportUser { id: string }
}

export const app = Fastify()
await app.register(cookie)
await app.register(sessions, { load: 'eager', regenerate: 'clear' })
await app.register(csrf, { sessionPlugin: '@fastify/session' })
await app.register(flash)
await app.register(passport.initialize())
await app.register(passport.secureSession())
await app.register(oauth2, {
  name: 'provider',
  credentials: { client: { id: 'us', secret: 'between us' }, auth: oauth2.default.GITHUB_CONFIGURATION },
  callbackUri: 'http://localhost/callback',
  generateStateFunction: request => {
    request.session.set('state', 'random')
    return 'random'
  },
  checkStateFunction: request => request.session.get('state') === 'random'
})

app.post('/login', { onRequest: app.csrfProtection }, async (request, reply) => {
  const session: Session = await request.session.load()
  const messages: Record<string, string[]> | string[] = reply.flash('error')
  request.flash('info', 'welcome')
  if (request.user !== undefined) await session.login(request.user.id)
  session.options({ maxAge: 60 })
  await app.provider.getAccessTokenFromAuthorizationCodeFlow(request)
  await request.logOut()
  return [messages, reply.generateCsrf({ userInfo: 'ada' })]
})
