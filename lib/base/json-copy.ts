/** The most items of an array. A forgotten index makes one of billions, all of them empty. */
export const MAX_ITEMS = 10_000_000
/**
 * Levels below which the text of JSON is made after all: it notices at once that an object holds itself, and
 * takes less of the stack, so that all is carried that can be stored.
 */
const DEEP = 50

/**
 * What would come back had the value been stored as JSON: it shares nothing with the value. There is no text
 * in between, which would take several times as long.
 *
 * @param key under which the value stands, for a `toJSON` of its own
 * @param level how far it stands inside of what is copied
 * @returns undefined for what JSON leaves out
 * @throws for what JSON cannot carry: a bigint, an object that holds itself, an array of too many items
 */
export function jsonCopy (value: unknown, key: string | number = '', level = 0): unknown {
  if (typeof value !== 'object' || value === null) return primitive(value)
  if (level > DEEP) return throughText(value, key)
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    const made: unknown = value.toJSON(String(key))
    return typeof made === 'object' && made !== null ? copied(made, level) : primitive(made)
  }
  return copied(value, level)
}

function throughText (value: object, key: string | number): unknown {
  return Object.values(JSON.parse(JSON.stringify({ [key]: value })))[0]
}

function primitive (value: unknown): unknown {
  switch (typeof value) {
    case 'number': return Number.isFinite(value) ? value || 0 : null
    case 'bigint': throw new TypeError('JSON has no bigint')
    case 'undefined': case 'function': case 'symbol': return undefined
    default: return value
  }
}

function copied (value: object, level: number): object {
  if (Array.isArray(value)) return copiedArray(value, level)
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    const item = jsonCopy(value[key as keyof typeof value], key, level + 1)
    if (item !== undefined) put(copy, key, item)
  }
  return copy
}

function copiedArray (array: unknown[], level: number): unknown[] {
  if (array.length > MAX_ITEMS) throw new RangeError('too many items')
  const copy: unknown[] = []
  for (let i = 0; i < array.length; i++) copy.push(jsonCopy(array[i], i, level + 1) ?? null)
  return copy
}

const inherited = new Set(Object.getOwnPropertyNames(Object.prototype))

/**
 * Any key is one like any other. An assignment would not store `__proto__`, nor `constructor` and its like
 * where the application has frozen `Object.prototype`.
 */
export function put (object: Record<string, unknown>, key: string, value: unknown): void {
  if (!inherited.has(key)) object[key] = value
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

/**
 * Whether two such copies are the same in the text of JSON. The order of keys is kept there, and is a
 * difference: what was used last may stand last.
 */
export function jsonEqual (a: unknown, b: unknown, level = 0): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a === b
  if (level > DEEP) return JSON.stringify(a) === JSON.stringify(b)
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length &&
      a.every((item, index) => jsonEqual(item, b[index], level + 1))
  }
  const keys = Object.keys(a)
  const others = Object.keys(b)
  return keys.length === others.length && keys.every((key, index) => {
    return key === others[index] && jsonEqual(a[key as keyof typeof a], b[key as keyof typeof b], level + 1)
  })
}
