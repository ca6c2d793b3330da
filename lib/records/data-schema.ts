import { Kind, Type } from '@sinclair/typebox'
import type { TObject } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { SchemaError } from '../errors.js'

type Data = Record<string, unknown>
/** Makes data that fit of what an earlier version of the application stored. */
export type Migrate = (data: Data) => Data

/** What the data of a session have to be. */
export interface DataSchema {
  /** The data, migrated where they do not fit; null where that does not help. */
  fitted (data: Data): Data | null
  /** @throws FST_SESSIONS_SCHEMA with the path of the first value that is wrong, never the value */
  assertFits (data: Data): void
}

/** A session grows field by field: any of them may be absent, whatever the schema requires. */
export function dataSchema (schema: TObject | undefined, migrate: Migrate | undefined): DataSchema | null {
  if (schema === undefined) return null
  const fits = TypeCompiler.Compile(Type.Partial(schema))
  // TypeBox takes what an object inherits for a field of it: without a prototype there is nothing to inherit.
  const isMistakable = Object.keys(schema.properties).some(field => field in Object.prototype)
  const own = (data: Data): Data => isMistakable ? Object.assign(Object.create(null), data) : data

  function migrated (data: Data): Data | null {
    try {
      const result = migrate!(data)
      return fits.Check(own(result)) ? result : null
    } catch {
      return null
    }
  }

  return {
    fitted (data) {
      if (fits.Check(own(data))) return data
      return migrate === undefined ? null : migrated(data)
    },
    assertFits (data) {
      if (fits.Check(own(data))) return
      const { path, message } = fits.Errors(own(data)).First()!
      throw new SchemaError(path.slice(1).replaceAll('/', '.'), message)
    }
  }
}

export function isObjectSchema (value: unknown): boolean {
  return typeof value === 'object' && value !== null && Kind in value && value[Kind] === 'Object'
}
