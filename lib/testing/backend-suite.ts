import type { BackendSuite, Lab } from './backend-lab.js'
import { withLab } from './backend-lab.js'
import { checkEngine } from './backend-engine.js'
import { checkIndex } from './backend-index.js'
import { checkExpiry } from './backend-expiry.js'
import { checkModel } from './backend-model.js'
import { checkRaces } from './backend-races.js'
import { checkValues } from './backend-values.js'
import { checkVerbs } from './backend-verbs.js'

export type { Ability, BackendSuite, SuiteEngine } from './backend-lab.js'

/**
 * Registers the conformance suite of `SessionBackend`: every promise of `types/store.ts` as a case of the
 * caller's test runner. A case that does not apply is registered too, with the reason in its name.
 *
 * @example
 * import { test } from 'node:test'
 * import { testBackend } from 'fastify-sessions/testing'
 *
 * testBackend({
 *   test,
 *   store: space => myStore({ url, prefix: space }),
 *   abilities: ['count']
 * })
 */
export function testBackend (options: BackendSuite): void {
  const { test } = options
  const prefix = options.name === undefined ? '' : options.name + ' '

  function check (name: string, run: (lab: Lab) => Promise<void>) {
    test(prefix + name, () => withLab(options, run))
  }

  function skip (name: string, reason: string) {
    test(`${prefix}${name} - not applicable: ${reason}`, async () => {})
  }

  checkVerbs(check)
  checkExpiry(check)
  checkValues(check)
  checkRaces(check, options.rounds ?? 1000)
  checkEngine(options, check, skip)
  checkIndex(options, check, skip)
  checkModel(options, check)
}
