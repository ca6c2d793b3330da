import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { CookieJar } from 'tough-cookie'

const root = join(import.meta.dirname, '..', '..')
const address = /^http:\/\/127\.0\.0\.1:\d+/m

interface Teardown { teardown (end: () => unknown): void }

export interface Demo {
  url: string
  /** Ends it as a terminal would. @returns its exit code, null when it did not end in good order */
  stop (signal?: NodeJS.Signals): Promise<number | null>
}

/** What a demo printed that ended by itself. */
export class EndedError extends Error {
  readonly code: number | null

  constructor (code: number | null, output: string) {
    super(output)
    this.code = code
  }
}

/** `npm run demo` without npm between, on a free port. Rejects with EndedError when it does not start. */
export async function startDemo (
  t: Teardown, directory: string, args: string[] = [], env: Record<string, string> = {}
): Promise<Demo> {
  const child = spawn(
    process.execPath,
    ['--import', join(root, 'scripts', 'typescript.js'), join(root, 'examples', 'demo.ts'), '--port', '0', ...args],
    {
      cwd: directory,
      env: { PATH: process.env.PATH, TSX_TSCONFIG_PATH: join(root, 'tsconfig.json'), ...env },
      stdio: ['ignore', 'pipe', 'pipe']
    }
  )
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'close').then(([code]) => code as number | null)
  let output = ''
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', chunk => {
        output += chunk
        const found = address.exec(output)
        if (found !== null) resolve(found[0])
      })
    }
    ended.then(code => reject(new EndedError(code, output)), reject)
  })
  return {
    url,
    async stop (signal = 'SIGTERM') {
      child.kill(signal)
      return ended
    }
  }
}

/** A browser without windows: keeps cookies, follows no redirect. */
export function visitor (jar = new CookieJar(undefined, { allowSpecialUseDomain: true, prefixSecurity: 'strict' })) {
  async function send (url: string, { headers, ...init }: RequestInit = {}) {
    const cookie = await jar.getCookieString(url)
    const response = await fetch(url, {
      redirect: 'manual', ...init, headers: { ...cookie === '' ? {} : { cookie }, ...headers }
    })
    for (const line of response.headers.getSetCookie()) await jar.setCookie(line, url)
    return { status: response.status, headers: response.headers, text: await response.text() }
  }

  return {
    get: (url: string) => send(url),
    post: (url: string, form: Record<string, string> = {}, headers: Record<string, string> = {}) =>
      send(url, { method: 'POST', body: new URLSearchParams(form), headers }),
    cookies: (url: string) => jar.getCookieString(url)
  }
}

/** What the main page says, without the tags. */
export function read (page: string) {
  const text = page.replace(/<style[^]*?<\/style>/g, '').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')
  const after = (pattern: RegExp) => pattern.exec(text)?.[1]
  return {
    visits: Number(after(/This is visit (\d+)/)),
    greeting: after(/(Hello[^.]*?) ?\./),
    handle: after(/Handle (\S+)/),
    principal: after(/Principal (.*?) Created/),
    store: after(/Kept in (.*?) Handle/),
    cart: Object.fromEntries([...text.matchAll(/(\w+) − in the cart: (\d+)/g)].map(([, item, n]) => [item, Number(n)])),
    recent: [...text.matchAll(/(GET|POST) (\/\S*) \d/g)].map(([, method, path]) => `${method} ${path}`)
  }
}
