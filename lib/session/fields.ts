import type { Codec } from '../records/codec.js'
import { OptionError } from '../errors.js'

/** Which fields a session of several owns. */
export type Fields =
  /** These names. */
  | readonly string[]
  /** The names included (default: all) but those excluded. */
  | { readonly include?: readonly string[], readonly exclude?: readonly string[] }
  /** All; for the only session that keeps data. */
  | '*'
  /** What the others leave. */
  | 'rest'

/** The session that owns a field. */
export type OwnerOf = (field: string) => string

/** A set of names: these, or all but these. */
interface NameSet { names: ReadonlySet<string>, isComplement: boolean }

/** Stands for every name that the configuration does not mention. */
const OTHER: unique symbol = Symbol('any other field')
type Name = string | typeof OTHER

/**
 * Settles who owns which field: exactly one session each, whatever the order of the configuration.
 *
 * @throws FST_SESSIONS_OPTION when a field has two owners or none
 */
export function settleFields (fields: Readonly<Record<string, Fields>>): OwnerOf {
  const takers = Object.keys(fields).filter(session => fields[session] === 'rest')
  if (takers.length > 1) throw new OptionError(`the sessions ${quoted(takers)} both take the 'rest' of the fields`)

  const sets = new Map<string, NameSet>()
  for (const [session, own] of Object.entries(fields)) {
    if (own !== 'rest') sets.set(session, setOf(own))
  }
  const owners = new Map<Name, string>()
  const mentioned = [...sets.values()].flatMap(({ names }) => [...names])
  for (const name of [...mentioned, OTHER] satisfies Name[]) {
    owners.set(name, ownerAmong(sets, name) ?? takers[0] ?? refuse(name))
  }
  return field => owners.get(field) ?? owners.get(OTHER)!
}

/** A codec whose sessions show no other fields than these, and lose the others at the next write. */
export function onlyFields (codec: Codec, owns: (field: string) => boolean): Codec {
  return {
    ...codec,
    decode (value) {
      const content = codec.decode(value)
      if (content === null) return null
      const own = Object.entries(content.data).filter(([field]) => owns(field))
      return { ...content, data: Object.fromEntries(own) }
    }
  }
}

function ownerAmong (sets: ReadonlyMap<string, NameSet>, name: Name): string | undefined {
  const owners = [...sets].filter(([, set]) => contains(set, name)).map(([session]) => session)
  if (owners.length > 1) {
    throw new OptionError(`${described(name)} belongs to the sessions ${quoted(owners)}; one must own it`)
  }
  return owners[0]
}

function refuse (name: Name): never {
  throw new OptionError(`${described(name)} belongs to no session; give one of them fields: 'rest'`)
}

function setOf (fields: Exclude<Fields, 'rest'>): NameSet {
  if (fields === '*') return { names: new Set(), isComplement: true }
  if (isList(fields)) return { names: new Set(fields), isComplement: false }
  const { include, exclude = [] } = fields
  if (include === undefined) return { names: new Set(exclude), isComplement: true }
  return { names: new Set(include.filter(name => !exclude.includes(name))), isComplement: false }
}

function isList (fields: object): fields is readonly string[] {
  return Array.isArray(fields)
}

function contains ({ names, isComplement }: NameSet, name: Name): boolean {
  return (name !== OTHER && names.has(name)) !== isComplement
}

function described (name: Name): string {
  return name === OTHER ? 'a field that no session names' : `the field '${name}'`
}

function quoted (names: string[]): string {
  return names.map(name => `'${name}'`).join(' and ')
}
