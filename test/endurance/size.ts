/** The long run: `npm run endurance`. All other runs are short ones. */
export const isLong = process.env.ENDURANCE === '1'

/** How much of something is tried. */
export function size (short: number, long: number): number {
  return isLong ? long : short
}

/** Why something is left to the long run, as tap's option `skip` takes it. */
export const onlyLong = isLong ? false : 'npm run endurance does this'

/** The end of a chance: short runs repeat themselves, long ones do not, and tell where they began. */
export function randomness (t: { comment (text: string): void }, short: number, long: number) {
  const seed = isLong ? Date.now() % 2 ** 31 : 20241121
  if (isLong) t.comment(`seed ${seed}`)
  return { seed, numRuns: size(short, long) }
}
