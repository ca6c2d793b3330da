/**
 * A place in a line, in which things stand in some order until they leave. To stand in one costs no more than
 * to step in and out: the table of a `Map` or `Set` through which many pass is made anew again and again, and
 * each that grows old keeps alive what its successors hold.
 *
 * A line is a ring that begins and ends with a place of which only that is asked.
 */
export class Place {
  before: this = this
  after: this = this

  /** Steps in as the last. */
  stand (end: this): void {
    this.before = end.before
    this.after = end
    end.before.after = this
    end.before = this
  }

  /** Stands by itself from here on. False: it did so before. */
  leave (): boolean {
    if (this.after === this) return false
    this.before.after = this.after
    this.after.before = this.before
    this.before = this
    this.after = this
    return true
  }
}
