// Writes the tables of options into README.md: npm run docs
import type { TObject, TSchema } from '@sinclair/typebox'
import { Kind } from '@sinclair/typebox'
import { readFileSync, writeFileSync } from 'node:fs'
import { sessionSchema } from '../lib/config/session-options.js'

/** The options of a schema as rows of a table; nested ones follow with their path. */
export function optionsTable (schema: TObject): string {
  return ['| option | default | meaning |', '|---|---|---|', ...rows(schema, '')].join('\n')
}

/** A document with its tables made anew between `<!-- options -->` and `<!-- /options -->`. */
export function withOptionsTable (document: string): string {
  const table = `<!-- options -->\n${optionsTable(sessionSchema)}\n<!-- /options -->`
  return document.replace(/<!-- options -->[^]*?<!-- \/options -->/, () => table)
}

function rows (schema: TObject, path: string): string[] {
  return Object.entries(schema.properties).flatMap(([name, field]) => field[Kind] === 'Object'
    ? rows(field as TObject, `${path}${name}.`)
    : [`| \`${path}${name}\` | ${initial(field)} | ${meaning(field)} |`])
}

function initial (field: TSchema): string {
  if (field.default === undefined) return ''
  return `\`${typeof field.default === 'string' ? `'${field.default}'` : field.default}\``
}

function meaning ({ description }: TSchema): string {
  return (description ?? '').replaceAll('|', '\\|')
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const readme = new URL('../README.md', import.meta.url)
  writeFileSync(readme, withOptionsTable(readFileSync(readme, 'utf8')))
}
