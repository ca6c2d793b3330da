/**
 * Stands in for the types of `@fastify/secure-session`, which those of `@fastify/flash` and
 * `@fastify/passport` ask for `SessionData`. The real ones declare a `request.session` of their own. To be
 * named in `compilerOptions.paths` of a project that uses these plugins with this package.
 */
export interface SessionData {}
