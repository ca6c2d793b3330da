const MAX_LENGTH = 60

/** From the most particular on: each of them claims to be those below it as well. */
const browsers: ReadonlyArray<readonly [name: string, sign: RegExp]> = [
  ['Edge', /\bEdg(e|A|iOS)?\//], ['Opera', /\bOPR\//], ['Firefox', /\b(Firefox|FxiOS)\//],
  ['Chrome', /\b(Headless)?(Chrome|Chromium|CriOS)\//], ['Safari', /\bVersion\/.*\bSafari\//]
]

const systems: ReadonlyArray<readonly [name: string, sign: RegExp]> = [
  ['Android', /Android/], ['iPhone', /iPhone/], ['iPad', /iPad/], ['Windows', /Windows NT/],
  ['macOS', /Mac OS X/], ['Linux', /Linux/]
]

/**
 * What a browser says that it is. Anyone may send anything: what is not one of the well-known ones is shown
 * as it came, cut.
 */
export function deviceName (userAgent: string): string {
  const browser = find(browsers, userAgent)
  const system = find(systems, userAgent)
  if (browser !== undefined && system !== undefined) return `${browser} on ${system}`
  return userAgent.slice(0, MAX_LENGTH) || 'An unknown browser'
}

function find (known: typeof browsers, userAgent: string): string | undefined {
  return known.find(([, sign]) => sign.test(userAgent))?.[0]
}
