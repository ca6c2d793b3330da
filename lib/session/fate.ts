/** What a commit amounts to. */
export type Fate =
  /** Leave the store alone. */
  | 'nothing'
  /** Store a new session. */
  | 'create'
  /** Write the changes to the stored session; remove it when nothing is left. */
  | 'update'
  /** Note activity. */
  | 'touch'
  /** Store under a new id, then remove the old one. */
  | 'rotate'
  /** Remove session and cookie: `destroy()` was called. What was written after that is decided upon next. */
  | 'destroy'

export interface Situation {
  /** `destroy()` was called, and the browser has a cookie. */
  doomed: boolean
  /** There is a stored session, not doomed. */
  stored: boolean
  /** It is to get a new id. */
  rotating: boolean
  /** There are changes to write. */
  changed: boolean
  /** Nothing would be left to keep. */
  empty: boolean
  /** Activity is worth a write. */
  touchDue: boolean
  /** The response is a server error: changes are dropped, destruction and rotation are carried out. */
  failed: boolean
}

export function decide ({ doomed, stored, rotating, changed, empty, touchDue, failed }: Situation): Fate {
  if (doomed) return 'destroy'
  const saves = changed && !failed
  if (!stored) return saves && !empty ? 'create' : 'nothing'
  if (rotating) return 'rotate'
  if (saves) return 'update'
  return touchDue && !changed ? 'touch' : 'nothing'
}
