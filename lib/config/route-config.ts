import { Type } from '@sinclair/typebox'
import { checkOptions, show } from '../base/options.js'
import { OptionError } from '../errors.js'

/** `config.session` of a route. */
export type SessionRouteConfig =
  /** No session on this route: reads are empty, writes throw. */
  | false
  /** As `{ load }`. */
  | 'lazy' | 'eager'
  | {
    /** In place of the option of the same name. */
    load?: 'lazy' | 'eager'
    /** Writes throw. Activity is noted as on other routes. */
    readOnly?: boolean
  }

/** What a route has settled on. */
export interface RouteSettings {
  readonly enabled: boolean
  /** Undefined: as the option of the same name says. */
  readonly load: 'lazy' | 'eager' | undefined
  readonly readOnly: boolean
}

const schema = Type.Object({
  load: Type.Optional(Type.Unsafe<'lazy' | 'eager'>(Type.Union([Type.Literal('lazy'), Type.Literal('eager')]))),
  readOnly: Type.Boolean({ default: false })
}, { additionalProperties: false })

/**
 * @param config `config.session` of a route
 * @param route how errors name the route
 * @throws FST_SESSIONS_OPTION
 */
export function routeSettings (config: unknown, route: string): RouteSettings {
  if (config === false) return { enabled: false, load: 'lazy', readOnly: false }
  const isObject = typeof config === 'object' && config !== null
  if (config !== undefined && config !== 'lazy' && config !== 'eager' && !isObject) {
    throw new OptionError(`config.session of ${route} must be false, 'lazy', 'eager' or an object, ` +
      `received ${show(config)}`)
  }
  const checked = checkOptions(schema, isObject ? config : { load: config }, `config.session of ${route}:`)
  return { enabled: true, load: checked.load, readOnly: checked.readOnly }
}
