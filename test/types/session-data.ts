// Compiled by `npm run types`, never run: what an application's types must and must not accept.
import type { FastifyRequest } from 'fastify'
import type { Session } from 'fastify-sessions'

declare module 'fastify-sessions' {
  interface SessionData {
    cart: string[]
    visits: number
    /** A field may have a reserved name; it is reached with get() and set() only. */
    keys: string
  }
}

export async function handler (request: FastifyRequest): Promise<unknown[]> {
  const session: Session = await request.session.load()

  const cart: string[] | undefined = session.cart
  session.cart = [...cart ?? [], 'apple']
  delete session.cart
  session.set('visits', 1)
  session.set('visits', undefined)
  const visits: number | undefined = session.update('visits', (n = 0) => n + 1)
  const other: unknown = session.get('other')
  session.set('other', { any: 'thing' })
  session.set('get', 1)
  session.set('keys', 'a field')
  session.regenerate(['cart'], () => {})
  session.save((error: Error | null) => { if (error) throw error })

  // @ts-expect-error a field holds its own type only
  session.cart = 'apple'
  // @ts-expect-error the same through set()
  session.set('visits', 'one')
  // @ts-expect-error the same through update()
  session.update('visits', () => 'one')
  // @ts-expect-error fields are declared before they are used as properties
  session.undeclared = 1
  // @ts-expect-error reserved names are not assigned
  session.get = 1
  // @ts-expect-error nor a reserved name that SessionData declares
  session.keys = 'a field'
  // @ts-expect-error what the session tells of itself is read-only
  session.id = 'forged'
  // @ts-expect-error the session itself is not replaced
  request.session = session
  // @ts-expect-error a field may be absent
  const always: number = session.visits

  return [visits, other, always]
}
