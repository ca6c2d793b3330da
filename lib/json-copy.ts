/**
 * What would come back had the value been stored as JSON: it shares nothing with the value. There is no text
 * in between, which would take several times as long.
 *
 * @param key under which the value stands, for a `toJSON` of its own
 * @returns undefined for what JSON leaves out
 * @throws for what JSON cannot carry: a bigint, an object that holds itself
 */
export function jsonCopy (value: unknown, key: string | number = ''): unknown {
  if (typeof value !== 'object' || value === null) return primitive(value)
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    const made: unknown = value.toJSON(String(key))
    return typeof made === 'object' && made !== null ? copied(made) : primitive(made)
  }
  return copied(value)
}

function primitive (value: unknown): unknown {
  switch (typeof value) {
    case 'number': return Number.isFinite(value) ? value || 0 : null
    case 'bigint': throw new TypeError('JSON has no bigint')
    case 'undefined': case 'function': case 'symbol': return undefined
    default: return value
  }
}

function copied (value: object): object {
  if (Array.isArray(value)) return copiedArray(value)
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    const item = jsonCopy(value[key as keyof typeof value], key)
    if (item !== undefined) put(copy, key, item)
  }
  return copy
}

function copiedArray (array: unknown[]): unknown[] {
  const copy: unknown[] = []
  for (let i = 0; i < array.length; i++) copy.push(jsonCopy(array[i], i) ?? null)
  return copy
}

/** Any key is one like any other: an assignment would not store `__proto__`. */
export function put (object: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== '__proto__') object[key] = value
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

/** Whether two such copies hold the same; the order of keys is no difference. */
export function jsonEqual (a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a === b
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length &&
      a.every((item, index) => jsonEqual(item, b[index]))
  }
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length &&
    keys.every(key => Object.hasOwn(b, key) && jsonEqual(a[key as keyof typeof a], b[key as keyof typeof b]))
}
