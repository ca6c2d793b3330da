/** Text that is HTML already. */
export class Html {
  readonly source: string

  constructor (source: string) {
    this.source = source
  }
}

type Part = Html | string | number | false | null | undefined

/** A template whose values are escaped, unless they are Html themselves. */
export function html (strings: TemplateStringsArray, ...values: Array<Part | Part[]>): Html {
  return new Html(String.raw({ raw: strings }, ...values.map(value => [value].flat().map(rendered).join(''))))
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function rendered (part: Part): string {
  if (part instanceof Html) return part.source
  if (part === false || part === null || part === undefined) return ''
  return String(part).replace(/[&<>"']/g, character => entities[character])
}
