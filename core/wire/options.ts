// Checks the arguments of definitions: plain JavaScript passes anything, and a generic parameter lets unknown names through.
// Invariant: an error names the definition, the argument, its value and what is allowed; for an unknown name the nearest one.

import { DefinitionError, shorten } from './errors.ts'

/** What an argument may be. */
export interface OptionKind {
  /** Completes "is 5, not". */
  readonly what: string
  readonly accepts: (value: unknown) => boolean
}
/** A kind for every option. */
export type OptionKinds<Options> = { readonly [K in keyof Required<Options>]: OptionKind }

export const FLAG: OptionKind = { what: 'true or false', accepts: (value) => typeof value === 'boolean' }
export const FUNCTION: OptionKind = { what: 'a function', accepts: (value) => typeof value === 'function' }
export const OBJECT: OptionKind = { what: 'an object', accepts: isObject }
export const NAME: OptionKind = { what: 'a name', accepts: (value) => typeof value === 'string' && value !== '' }
export const NAMES: OptionKind = {
  what: 'a list of names',
  accepts: (value) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
}
export const POSITIVE_INTEGER: OptionKind = {
  what: 'a positive integer',
  accepts: (value) => Number.isSafeInteger(value) && (value as number) > 0,
}

export function oneOf(...values: readonly string[]): OptionKind {
  return { what: `one of ${values.join(', ')}`, accepts: (value) => values.includes(value as string) }
}

export function numberIn(min: number, max: number): OptionKind {
  return {
    what: `a number in ${min}..${max}`,
    accepts: (value) => typeof value === 'number' && value >= min && value <= max,
  }
}

export function integerIn(min: number, max: number): OptionKind {
  const { what, accepts } = numberIn(min, max)
  return { what: what.replace('a number', 'an integer'), accepts: (value) => Number.isInteger(value) && accepts(value) }
}

/** @throws DefinitionError for a value of another kind. `shown`: the value as the message contains it */
export function checkOption(
  where: string,
  name: string,
  value: unknown,
  kind: OptionKind,
  shown = shorten(value),
): void {
  if (!kind.accepts(value)) throw new DefinitionError(`${where}: ${name} is ${shown}, not ${kind.what}`)
}

/** @throws DefinitionError for an unknown option, one of another kind, or a missing one of `required` */
export function checkOptions(
  where: string,
  options: object,
  kinds: Readonly<Record<string, OptionKind>>,
  required: readonly string[] = [],
): void {
  checkOption(where, 'the argument options', options, OBJECT)
  const values = options as Readonly<Record<string, unknown>>
  for (const name of Object.keys(values)) checkName(where, 'option', name, Object.keys(kinds))
  for (const [name, kind] of Object.entries(kinds))
    if (values[name] !== undefined || required.includes(name)) checkOption(where, name, values[name], kind)
}

/** @throws DefinitionError for a name that is none of `known` */
export function checkName(where: string, what: string, name: unknown, known: readonly string[]): void {
  if (known.includes(name as string)) return
  const nearest = typeof name === 'string' ? nearestOf(name, known) : undefined
  const hint = nearest === undefined ? known.join(', ') || 'there is none' : `did you mean ${nearest}?`
  throw new DefinitionError(`${where} has no ${what} ${shorten(name)}: ${hint}`)
}

/** @throws DefinitionError for anything but an object, which would be a type without fields */
export function fieldNames(what: string, fields: unknown): string[] {
  if (isObject(fields)) return Object.keys(fields)
  throw new DefinitionError(`${what}: expected an object of fields or a schema, got ${shorten(fields)}`)
}

const MAX_NAME_CHARS = 64

/** The name with the fewest changed letters, if at most a third of them differ. */
function nearestOf(name: string, known: readonly string[]): string | undefined {
  let nearest: string | undefined
  let least = Math.floor(Math.min(name.length, MAX_NAME_CHARS) / 3) + 1
  for (const candidate of known) {
    const distance = editDistance(name.slice(0, MAX_NAME_CHARS).toLowerCase(), candidate.toLowerCase())
    if (distance >= least) continue
    least = distance
    nearest = candidate
  }
  return nearest
}

/** Levenshtein's distance: letters inserted, deleted or replaced. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++)
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + (a[i] === b[j] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
