// Standard Schema v1 (standardschema.dev), and CompiledSchema, the form in which every schema, ours or foreign, is run.
// Invariant: a rejection is a returned constant, not an exception, so that reading allocates nothing; the message is built
// by a second pass over the rejected value.

import { DefinitionError, InputError, shorten } from './errors.ts'

/** A schema of any library that implements Standard Schema v1 (standardschema.dev). */
export interface StandardSchema<Out> {
  /** What the specification defines. */
  readonly '~standard': StandardSchemaProps<Out>
}
/** The properties of a Standard Schema. */
export interface StandardSchemaProps<Out> {
  /** Of the specification. */
  readonly version: 1
  /** The library. */
  readonly vendor: string
  /** Returns the accepted value, or the issues. Firefly requires a synchronous result. */
  readonly validate: (value: unknown) => StandardResult<Out> | Promise<StandardResult<Out>>
  /** Carries the types; never present. */
  readonly types?: { readonly input: unknown; readonly output: Out } | undefined
}
/** The accepted value, or the issues of a rejected one. */
export type StandardResult<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] }
/** Why a value is rejected. */
export interface StandardIssue {
  /** The reason. */
  readonly message: string
  /** The rejected part. */
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined
}

/** A descriptor as plain JSON data. Bounds are inclusive; `string` counts UTF-16 units, as `length` does. */
export type TypeSpec =
  | { readonly kind: NumberKind; readonly min: number; readonly max: number }
  | { readonly kind: 'bool' | 'i64' | 'u64' | 'date' }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'id' | 'string'; readonly min: number; readonly max: number }
  | { readonly kind: 'bytes'; readonly max: number }
  | { readonly kind: 'array' | 'record'; readonly item: TypeSpec; readonly max: number }
  | { readonly kind: 'optional' | 'nullable'; readonly item: TypeSpec }
  | { readonly kind: 'oneOf'; readonly values: readonly string[] }
  | { readonly kind: 'object'; readonly fields: { readonly [name: string]: TypeSpec } }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'foreign'; readonly vendor: string }
/** The number types. */
export type NumberKind = 'u8' | 'u16' | 'u32' | 'i8' | 'i16' | 'i32' | 'int' | 'f32' | 'f64'

/** A `t` type. */
export interface Type<Out> {
  /** The name of the type in `t`. */
  readonly kind: string
  /** The type as plain JSON data. */
  readonly spec: TypeSpec
  /** Returns the validated value. @throws InputError whose message starts with the path of the invalid part */
  parse(value: unknown, path?: string): Out
  /** A `t` type is a Standard Schema too. */
  readonly '~standard': StandardSchemaProps<Out>
}

/** A `t` type, or a schema of another library. */
export type Schema<Out> = Type<Out> | StandardSchema<Out>
/** Result of `read` for a rejected value. */
export const INVALID = Symbol('invalid')
export type ReadValue<Out> = (value: unknown) => Out | typeof INVALID
/** Returns the reason for a rejected value. */
export type DiagnoseValue = (value: unknown) => Issue
export interface Issue {
  readonly message: string
  readonly path: readonly PropertyKey[]
}
/** The executable form of a schema. */
export interface CompiledSchema<Out> {
  readonly spec: TypeSpec
  readonly read: ReadValue<Out>
  readonly diagnose: DiagnoseValue
}

/** A `t` type: a compiled schema with its public interface. */
export class Descriptor<Out> implements Type<Out>, CompiledSchema<Out> {
  readonly kind: string
  readonly spec: TypeSpec
  readonly read: ReadValue<Out>
  readonly diagnose: DiagnoseValue
  readonly '~standard': StandardSchemaProps<Out>
  constructor(spec: TypeSpec, read: ReadValue<Out>, diagnose: DiagnoseValue) {
    this.kind = spec.kind
    this.spec = spec
    this.read = read
    this.diagnose = diagnose
    const validate = (value: unknown): StandardResult<Out> => {
      const out = read(value)
      return out === INVALID ? { issues: [diagnose(value)] } : { value: out }
    }
    this['~standard'] = { version: 1, vendor: 'firefly', validate }
  }
  parse(value: unknown, path = 'input'): Out {
    return parseOrThrow(this, value, path)
  }
}

/** Returns the validated value. @throws InputError that starts with the path of the invalid part */
export function parseOrThrow<Out>(part: CompiledSchema<Out>, value: unknown, path: string): Out {
  const out = part.read(value)
  if (out !== INVALID) return out
  const issue = part.diagnose(value)
  throw new InputError(`${path}${pathText(issue.path)}: ${issue.message}`)
}

/** A foreign schema may also be a function with '~standard', as in arktype. */
export function isSchema(shape: unknown): shape is StandardSchema<unknown> {
  if ((typeof shape !== 'object' && typeof shape !== 'function') || shape === null) return false
  const props = (shape as Partial<StandardSchema<unknown>>)['~standard']
  return typeof props === 'object' && props.version === 1 && typeof props.validate === 'function'
}

/** Compiles any schema. @throws DefinitionError for anything else */
export function compileSchema<Out>(what: string, schema: Schema<Out> | undefined): CompiledSchema<Out> {
  if (schema instanceof Descriptor) return schema as Descriptor<Out>
  if (schema === undefined || !isSchema(schema))
    throw new DefinitionError(`${what}: expected a t type or Standard Schema, got ${shorten(schema)}`)
  const { vendor } = schema['~standard']
  // A second copy of this module (two bundles) fails instanceof, but its spec has our format.
  const spec: TypeSpec = vendor === 'firefly' && 'spec' in schema ? schema.spec : { kind: 'foreign', vendor }
  return {
    spec,
    read: (value) => {
      const result = validateNow(schema, value)
      return result.issues === undefined ? result.value : INVALID
    },
    diagnose: (value) => issueOf(validateNow(schema, value).issues ?? []),
  }
}

export function mismatch(kind: string, value: unknown): Issue {
  return { message: `expected ${kind}, got ${shorten(value)}`, path: [] }
}

export function nestIssue(key: PropertyKey, issue: Issue): Issue {
  return { message: issue.message, path: [key, ...issue.path] }
}

function validateNow<Out>(schema: StandardSchema<Out>, value: unknown): StandardResult<Out> {
  const props = schema['~standard']
  const result = props.validate(value)
  if (!('then' in result)) return result
  result.then(undefined, () => undefined) // not awaited: the definition itself is rejected
  throw new DefinitionError(`a schema of ${shorten(props.vendor)} returns a promise; validation must be synchronous`)
}

// Uses the path of the first issue. Foreign messages may quote the received value, so they are truncated and escaped.
function issueOf(issues: readonly StandardIssue[]): Issue {
  const texts = issues.slice(0, 3).map((issue) => JSON.stringify(issue.message.slice(0, 80)).slice(1, -1))
  const path = (issues[0]?.path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment))
  return { message: texts.join('; ') || 'rejected', path: path.slice(0, 32) }
}

/** JavaScript notation: `.a[1]["b c"]`. */
export function pathText(path: readonly PropertyKey[]): string {
  return path.map(pathSegment).join('')
}

function pathSegment(key: PropertyKey): string {
  if (typeof key === 'number') return `[${key}]`
  return typeof key === 'string' && /^[A-Za-z_$][\w$]{0,63}$/.test(key) ? `.${key}` : `[${shorten(key)}]`
}

/** Kinds of values that JSON cannot represent. */
export const NON_JSON_KINDS: readonly string[] = ['bytes', 'i64', 'u64', 'date']

/** Kinds whose values no type describes: they may hold what their codec would change without an error. */
export const UNDESCRIBED_KINDS: readonly string[] = ['foreign', 'unknown']

/** Returns the first of these kinds that occurs in a spec. */
export function findKind(spec: TypeSpec, kinds: readonly string[]): string | null {
  if (kinds.includes(spec.kind)) return spec.kind
  if ('item' in spec) return findKind(spec.item, kinds)
  if (spec.kind !== 'object') return null
  for (const field of Object.values(spec.fields)) {
    const found = findKind(field, kinds)
    if (found !== null) return found
  }
  return null
}
