import type { Random } from './random.js'

/** What an attacker knows: the name of the cookie, and some cookies that were valid once or are elsewhere. */
export interface Loot { name: string, values: readonly string[] }

type Make = (random: Random, loot: Loot) => string

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const ODD = ['\0', '\r\n', '"', '%00', '%', '../', '__proto__', 'constructor', '\ud800', 'é', '', ' ', '\t', '=',
  '.', ',', ';', '+/=', '\x7f', '{}', '[]', 'null', 's:', 'j:{"a":1}', '\u2028', '%FF%FE', '$Version=1']

const letters = (random: Random, length: number) => {
  return Array.from({ length }, () => random.oneOf(LETTERS)).join('')
}
const loot: Make = (random, { values }) => random.oneOf(values)
const place = (random: Random, text: string) => random.below(text.length + 1)

/** Values of a cookie, none of which is one that was issued here. */
const values: Make[] = [
  random => letters(random, 43),
  random => `${letters(random, 43)}.${letters(random, 43)}`,
  random => letters(random, random.below(200)),
  random => letters(random, 200 + random.below(1500)),
  random => random.some(0, 12, () => random.oneOf(ODD)).join(''),
  random => String.fromCharCode(...random.some(0, 60, () => random.below(random.oneOf([128, 256, 65536])))),
  // Mutations of what is valid somewhere.
  (random, known) => {
    const text = loot(random, known)
    const at = random.below(text.length)
    return text.slice(0, at) + random.oneOf(LETTERS) + text.slice(at + 1)
  },
  (random, known) => {
    const text = loot(random, known)
    const at = place(random, text)
    return text.slice(0, at) + random.oneOf(ODD) + text.slice(at + random.below(3))
  },
  (random, known) => loot(random, known).slice(0, -1 - random.below(20)),
  (random, known) => loot(random, known).slice(1 + random.below(20)),
  (random, known) => loot(random, known) + letters(random, 1 + random.below(4)),
  (random, known) => loot(random, known).toUpperCase(),
  (random, known) => loot(random, known).split('.').reverse().join('.'),
  (random, known) => loot(random, known).replace('.', random.oneOf(['..', '', '%2e', ' .', '.\0'])),
  (random, known) => {
    const [id] = loot(random, known).split('.')
    return `${id}.${letters(random, 43)}`
  },
  (random, known) => `"${loot(random, known)}`,
  (random, known) => encodeURIComponent(loot(random, known)) + '%20'
]

const names: Make[] = [
  (_random, { name }) => name,
  (_random, { name }) => name,
  (_random, { name }) => name,
  (_random, { name }) => ` ${name}\t`,
  (_random, { name }) => name.toLowerCase(),
  (_random, { name }) => name.replace('__Host-', random => random.toUpperCase()),
  (_random, { name }) => `${name}\0`,
  (_random, { name }) => name.slice(2),
  random => random.oneOf(ODD),
  random => letters(random, random.below(30))
]

const pair: Make = (random, known) => {
  return `${random.oneOf(names)(random, known)}${random.oneOf(['=', '=', '=', '=', '==', '', ' = '])}` +
    random.oneOf(values)(random, known)
}
const separated = (random: Random, pairs: string[]) => pairs.join(random.oneOf(['; ', '; ', ';', ';;', ', ', ' ;\t']))

const headers: Make[] = [
  (random, known) => separated(random, random.some(1, 4, () => pair(random, known))),
  (random, known) => separated(random, random.some(1, 4, () => pair(random, known))),
  (random, known) => separated(random, random.some(1, 4, () => `${known.name}=${random.oneOf(values)(random, known)}`)),
  random => random.some(0, 40, () => random.oneOf(ODD)).join('')
]
const large: Make[] = [
  (random, known) => Array.from({ length: 200 }, () => `${known.name}=${letters(random, 43)}`).join('; '),
  (random, known) => `${known.name}=${letters(random, 16_000)}`,
  (random, { name }) => {
    return random.oneOf([';', '=', ' ', '; =', 'a=b;', '\0', name, `; ${name}=`]).repeat(9000).slice(0, 16_000)
  }
]

/** A Cookie header. */
export function hostileHeader (random: Random, known: Loot): string {
  return random.oneOf(random.below(50) === 0 ? large : headers)(random, known)
}
