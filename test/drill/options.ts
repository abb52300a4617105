// Command lines of drills: options with types, presets and bounds. Invariant: a wrong command line writes one line to
// stderr and exits with 2, before anything is started.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

/** One option; `Value` is what the drill gets. */
export interface Option<Value> {
  readonly kind: 'flag' | 'value' | 'positional'
  /** `text`: undefined = not on the command line. @throws Error that says which values there are */
  readonly read: (text: string | undefined) => Value
}
type Spec = Readonly<Record<string, Option<unknown>>>
type ParsedOf<S extends Spec> = {
  readonly [Name in keyof S]: S[Name] extends Option<infer Value> ? Value : never
}

export const flag: Option<boolean> = { kind: 'flag', read: (text) => text !== undefined }

/** A whole number of `min`..`max`. */
export function whole<Preset extends number | undefined = undefined>(
  preset?: Preset,
  { min = 0, max = Infinity }: { readonly min?: number; readonly max?: number } = {},
): Option<number | Preset> {
  return valueOption(preset as Preset, (text) => {
    const value = text.trim() === '' ? NaN : Number(text)
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value
    throw new Error(`not a whole number ${max === Infinity ? `of at least ${min}` : `of ${min}..${max}`}`)
  })
}

/** A number above 0, at most `max`. */
export function positive(max: number): Option<number | undefined> {
  return valueOption(undefined, (text) => {
    const value = Number(text)
    if (value > 0 && value <= max) return value
    throw new Error(`not a number above 0, at most ${max}`)
  })
}

/** One of the names. */
export function choice<const Name extends string, Preset extends Name | undefined = undefined>(
  names: readonly Name[],
  preset?: Preset,
): Option<Name | Preset> {
  return valueOption(preset as Preset, (text) => namedOf(names, text))
}

/** Some of the names, separated by commas. */
export function list<const Name extends string>(names: readonly Name[]): Option<readonly Name[] | undefined> {
  return valueOption(undefined, (text) => text.split(',').map((name) => namedOf(names, name)))
}

/** The argument without a name: one of the names. */
export function positional<const Name extends string>(names: readonly Name[]): Option<Name> {
  return { kind: 'positional', read: (text) => namedOf(names, text ?? '') }
}

function valueOption<Value, Preset>(preset: Preset, read: (text: string) => Value): Option<Value | Preset> {
  return { kind: 'value', read: (text) => (text === undefined ? preset : read(text)) }
}

function namedOf<Name extends string>(names: readonly Name[], text: string): Name {
  const name = names.find((known) => known === text)
  if (name === undefined) throw new Error(`'${text}' is none of ${names.join(', ')}`)
  return name
}

/** The option `minAcked` is `--min-acked` on the command line. Exits with 2 when the command line is wrong. */
export function parseDrill<const S extends Spec>(drill: string, spec: S, args: readonly string[]): ParsedOf<S> {
  const names = Object.keys(spec)
  const named = names.filter((name) => spec[name]!.kind !== 'positional')
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: named.length < names.length,
      options: Object.fromEntries(
        named.map((name) => [dashed(name), { type: spec[name]!.kind === 'flag' ? 'boolean' : 'string' } as const]),
      ),
    })
    const read = (name: string): unknown => {
      const option = spec[name]!
      const given = option.kind === 'positional' ? positionals[0] : values[dashed(name)]
      try {
        return option.read(given === undefined || given === false ? undefined : String(given))
      } catch (error) {
        const label = option.kind === 'positional' ? name : `--${dashed(name)} ${String(given)}`
        throw new Error(`${label}: ${messageOf(error)}`, { cause: error })
      }
    }
    return Object.fromEntries(names.map((name) => [name, read(name)])) as ParsedOf<S>
  } catch (error) {
    return usage(drill, messageOf(error))
  }
}

/** Writes why the drill cannot run and exits with 2. */
export function usage(drill: string, why: string): never {
  console.error(`${drill}: ${why}`)
  process.exit(2)
}

/** A folder that is removed when this process ends, unless `keep` was called. */
export function temporaryFolder(prefix: string): { readonly path: string; keep(): void } {
  const path = mkdtempSync(join(tmpdir(), `firefly-${prefix}-`))
  const remove = (): void => rmSync(path, { recursive: true, force: true })
  process.once('exit', remove)
  return { path, keep: () => void process.off('exit', remove) }
}

function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
