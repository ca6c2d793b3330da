/** Runs `work` when all that was given before under the same name has settled. */
export type InTurn = <T>(name: string, work: () => Promise<T>) => Promise<T>

/** A queue for each name: works of one name run one after another, in the order of the calls. */
export function inTurn (): InTurn {
  const last = new Map<string, Promise<unknown>>()
  return async (name, work) => {
    const before = last.get(name)
    const turn = before === undefined ? work() : before.then(work, work)
    last.set(name, turn)
    try {
      return await turn
    } finally {
      if (last.get(name) === turn) last.delete(name)
    }
  }
}
