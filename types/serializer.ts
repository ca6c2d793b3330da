/** Text or bytes, whichever `serialize` makes. */
export interface SerializerOf<Form extends string | Uint8Array> {
  /** Names the format; it is marked in each record. 1 to 40 characters of `A-Z a-z 0-9 _ . -`. */
  name: string
  /**
   * Called with all data of a session, and with single values to find out whether they have changed: equal
   * values should come out equal. What it throws on cannot be set.
   */
  serialize (value: unknown): Form
  /** Makes a new value of what `serialize` made. What it throws on is corrupt. */
  deserialize (form: Form): unknown
}

/** Carries the data of a session in place of JSON. */
export type Serializer = SerializerOf<string> | SerializerOf<Uint8Array>
