import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../lib/base/clock.js'

/** Four sessions in one application: their fields, and their idle timeouts in seconds. */
export const parts = {
  auth: { fields: ['user', 'principal'], idle: 1000 },
  basket: { fields: ['cart'], idle: 1000, bindTo: 'auth' },
  token: { fields: ['token'], idle: 500 },
  rest: { fields: 'rest', idle: 300 }
} as const
export type Name = keyof typeof parts
/** Those that are bound are written last. */
export const order: readonly Name[] = ['auth', 'token', 'rest', 'basket']

export type Act =
  | { do: 'set' | 'delete', key: string }
  | { do: 'clear' | 'regenerate' | 'login' | 'logout' | 'save' }
  | { do: 'end', part: Name }

type Data = Record<string, unknown>
interface Kept { id: number, data: Data, principal: string | null, expiresAt: number, boundTo: number | null }
interface Work {
  kept: Kept | null
  data: Data
  login: string | null
  rotates: boolean
  ends: boolean
}

/** What there ought to be of one browser that sends one request after the other. */
export class SeveralModel {
  readonly #clock: Clock
  readonly #kept = new Map<Name, Kept>()
  #works = new Map<Name, Work>()
  #issued = 0

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /** A request begins. */
  begin (): void {
    this.#works = new Map(order.map(name => [name, workOn(this.#live(name))]))
  }

  act (act: Act, value: unknown): void {
    const all = [...this.#works.values()]
    switch (act.do) {
      case 'set': this.#owner(act.key).data[act.key] = value; return
      case 'delete': delete this.#owner(act.key).data[act.key]; return
      case 'clear': return all.forEach(work => { work.data = {} })
      case 'regenerate': return all.forEach(work => { work.rotates = true })
      case 'login':
        this.#work('auth').login = String(value)
        return all.forEach(work => { work.rotates = true })
      case 'logout': return all.forEach(end)
      case 'end':
        if (act.part === 'auth') end(this.#work('basket'))
        return end(this.#work(act.part))
      case 'save':
        this.commit(false)
        return this.begin()
    }
  }

  data (part?: Name): Data {
    const works = part === undefined ? [...this.#works.values()] : [this.#work(part)]
    return Object.assign({}, ...works.map(({ data }) => data))
  }

  get principal (): string | null {
    const { login, kept } = this.#work('auth')
    return login ?? kept?.principal ?? null
  }

  commit (failed: boolean): void {
    for (const name of order) this.#commitOne(name, this.#work(name), failed)
  }

  #commitOne (name: Name, { kept, data, login, rotates, ends }: Work, failed: boolean): void {
    if (ends) this.#kept.delete(name)
    const boundTo = name === 'basket' ? this.#kept.get('auth')?.id ?? null : null
    const changed = login !== null || !isDeepStrictEqual(data, kept?.data ?? {})
    const saves = changed && !failed
    const next: Kept = {
      id: kept?.id ?? 0,
      data: failed ? kept?.data ?? {} : data,
      principal: (failed ? null : login) ?? kept?.principal ?? null,
      expiresAt: this.#clock.now() + parts[name].idle * 1000,
      boundTo
    }
    const isEmpty = next.principal === null && Object.keys(next.data).length === 0
    if (kept === null) {
      if (saves && !isEmpty) this.#kept.set(name, { ...next, id: ++this.#issued })
    } else if (rotates || kept.boundTo !== boundTo) this.#kept.set(name, { ...next, id: ++this.#issued })
    else if (saves && isEmpty) this.#kept.delete(name)
    else if (saves || !changed) this.#kept.set(name, next)
  }

  #live (name: Name): Kept | null {
    const kept = this.#kept.get(name)
    if (kept === undefined || this.#clock.now() >= kept.expiresAt) {
      this.#kept.delete(name)
      return null
    }
    if (name === 'basket' && kept.boundTo !== (this.#live('auth')?.id ?? null)) return null
    return kept
  }

  #work (name: Name): Work {
    return this.#works.get(name)!
  }

  #owner (key: string): Work {
    const named = order.find(name => (parts[name].fields as readonly string[]).includes(key))
    return this.#work(named ?? 'rest')
  }
}

function workOn (kept: Kept | null): Work {
  return { kept, data: structuredClone(kept?.data ?? {}), login: null, rotates: false, ends: false }
}

function end (work: Work): void {
  Object.assign(work, { ...workOn(null), ends: true })
}
