import { Type } from '@sinclair/typebox'
import type { Static } from '@sinclair/typebox'
import { OneOf } from '../base/options.js'

/** The option `cookie`. */
export const cookieSchema = Type.Object({
  name: Type.Optional(Type.String({
    description: 'Default `__Host-session`; `__Secure-session` with a `domain` or another `path`; `session` unless ' +
      '`secure` is true.'
  })),
  domain: Type.Optional(Type.String({ description: 'Default: none, the cookie stays with the host that set it.' })),
  path: Type.String({ default: '/', description: 'Where the browser sends the cookie.' }),
  httpOnly: Type.Boolean({ default: true, description: 'Hides the cookie from scripts.' }),
  secure: Type.Union([Type.Boolean(), Type.Literal('auto')], {
    default: true,
    description: "Only over https and to loopback hosts. `'auto'` follows `request.protocol`."
  }),
  sameSite: OneOf(['strict', 'lax', 'none'], {
    default: 'lax', description: 'Which requests of other sites carry the cookie.'
  }),
  partitioned: Type.Boolean({ default: false, description: 'A cookie jar of its own in each embedding site (CHIPS).' }),
  priority: Type.Optional(OneOf(['low', 'medium', 'high'], { description: 'Which cookies Chromium drops last.' })),
  persistent: Type.Boolean({
    default: false, description: 'Survives the end of the browser: Max-Age follows the end of the session.'
  }),
  maxAge: Type.Optional(Type.Integer({
    minimum: 1, description: 'Persistent, with a Max-Age of at most so many seconds.'
  }))
}, { additionalProperties: false, description: 'The cookie.' })

export type CookieOptions = Readonly<Static<typeof cookieSchema>>
