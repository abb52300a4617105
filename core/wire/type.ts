// The `t` types: one description of a value for parsing, TypeScript types, documentation, layouts and diffs. Invariant: `read`
// never throws and allocates nothing but its result; a message is built only after a rejection, by `diagnose`, in a second
// pass over the value.

import { DefinitionError, shorten, shortenList } from './errors.ts'
import {
  INVALID,
  Descriptor,
  isSchema,
  mismatch,
  compileSchema,
  findKind,
  parseOrThrow,
  nestIssue,
  type Issue,
  type NumberKind,
  type CompiledSchema,
  type ReadValue,
  type Schema,
  type Type,
  type TypeSpec,
} from './schema.ts'
import { date, decimal, i64, u64 } from './exact.ts'
import { fieldNames, isObject } from './options.ts'

/** Fields of an object by name. */
export type Fields = { readonly [name: string]: Schema<unknown> }
/** What an author may pass as a schema. */
export type Shape = Schema<unknown> | Fields

/** The TypeScript type of a descriptor, of a foreign Standard Schema or of plain fields. */
export type Infer<T> = T extends {
  readonly '~standard': { readonly types?: { readonly output: infer Out } | undefined }
}
  ? Out
  : T extends Fields
    ? InferFields<T>
    : never
export type InferFields<F extends Fields> = Flatten<
  { -readonly [K in Exclude<keyof F, OptionalKey<F>>]: Infer<F[K]> } & {
    -readonly [K in OptionalKey<F>]?: Infer<F[K]>
  }
>
/** The same for a parameter that is a shape. */
export type InferShape<S extends Shape> = Infer<S>
type OptionalKey<F extends Fields> = { [K in keyof F]: undefined extends Infer<F[K]> ? K : never }[keyof F]
export type Flatten<T> = { [K in keyof T]: T[K] } & {}

/** Characters quoted from a text of wrong length. */
const SAMPLE_CHARS = 40
const F32_MAX = 3.4028234663852886e38 // IEEE 754 binary32, the largest finite value

/** The types of values: docs/authoring.md lists them all. */
export const t = {
  u8: number('u8', 0, 0xff),
  u16: number('u16', 0, 0xffff),
  u32: number('u32', 0, 0xffff_ffff),
  i8: number('i8', -0x80, 0x7f),
  i16: number('i16', -0x8000, 0x7fff),
  i32: number('i32', -0x8000_0000, 0x7fff_ffff),
  /** Finite and in the range of binary32; not rounded to it. */
  f32: number('f32', -F32_MAX, F32_MAX),
  /** Finite. */
  f64: number('f64', -Number.MAX_VALUE, Number.MAX_VALUE),
  /** A bigint; a safe integer is accepted too. */
  i64,
  u64,
  decimal,
  date,
  bool: scalar<boolean>({ kind: 'bool' }, (value) => typeof value === 'boolean'),
  /** 1 to 64 characters of A-Z a-z 0-9 _ - */
  id: scalar<string>({ kind: 'id', min: 1, max: 64 }, isId, (value) =>
    value.length > 64 || value === ''
      ? `id of ${value.length} characters is outside 1..64: ${shorten(value, SAMPLE_CHARS)}`
      : `${shorten(value)} is not of A-Z a-z 0-9 _ -`,
  ),

  /** An integer; bounds are inclusive safe integers. */
  int(min: number, max: number): Type<number> {
    if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || min > max)
      throw new DefinitionError(`t.int(${min}, ${max}): bounds must be safe integers in order`)
    return number('int', min, max)
  },

  /** Well-formed Unicode; the bounds count UTF-16 units, which is never less than MySQL counts. */
  string(maxChars: number, minChars = 0): Type<string> {
    const max = bound('t.string', maxChars)
    const min = bound('t.string', minChars)
    if (min > max) throw new DefinitionError(`t.string(${max}, ${min}): the minimum is above the maximum`)
    return scalar<string>(
      { kind: 'string', min, max },
      (value) => typeof value === 'string' && value.length <= max && value.length >= min && value.isWellFormed(),
      (value) => {
        if (value.length <= max && value.length >= min) return `${shorten(value)} is not well-formed Unicode`
        const bound = value.length > max ? `exceeds ${max}` : `is below ${min}`
        return `string of ${value.length} characters ${bound}: ${shorten(value, SAMPLE_CHARS)}`
      },
    )
  },

  /** A Uint8Array, not copied. */
  bytes(max = 65_536): Type<Uint8Array> {
    return scalar<Uint8Array>(
      { kind: 'bytes', max: bound('t.bytes', max) },
      (value) => value instanceof Uint8Array && value.byteLength <= max,
      (value) => `${shorten(value)} exceeds ${max}`,
    )
  },

  array<Out>(item: Schema<Out>, max: number): Type<Out[]> {
    const { spec, read, diagnose } = requirePresent('t.array', item)
    bound('t.array', max)
    return new Descriptor<Out[]>(
      { kind: 'array', item: spec, max },
      (value) => {
        if (!Array.isArray(value) || value.length > max) return INVALID
        const out: Out[] = []
        for (let i = 0; i < value.length; i++) {
          const got = read(value[i])
          if (got === INVALID) return INVALID
          out.push(got)
        }
        return out
      },
      (value) => {
        if (!Array.isArray(value)) return mismatch('array', value)
        if (value.length > max) return tooMany(`array of ${value.length} items`, max, value)
        const at = value.findIndex((element) => read(element) === INVALID)
        return nestIssue(at, diagnose(value[at]))
      },
    )
  },

  /** In an object the key may be absent or undefined, and is then absent in the result; null is rejected. */
  optional<Out>(type: Schema<Out>): Type<Out | undefined> {
    return orEmpty('optional', undefined, type)
  },

  nullable<Out>(type: Schema<Out>): Type<Out | null> {
    return orEmpty('nullable', null, type)
  },

  /** Any value of the codec, absent too, for handlers that judge it themselves. Prefer a type, which bounds the value. */
  unknown: new Descriptor<unknown>(
    { kind: 'unknown' },
    (value) => value,
    (value) => mismatch('unknown', value),
  ),

  oneOf<const Values extends readonly [string, ...string[]]>(...values: Values): Type<Values[number]> {
    const known = new Set<unknown>(values)
    if (values.length === 0 || known.size !== values.length)
      throw new DefinitionError('t.oneOf: needs at least one string and no duplicates')
    return scalar<Values[number]>(
      { kind: 'oneOf', values },
      (value) => known.has(value),
      (value) => `${shorten(value)} is none of ${values.join('|').slice(0, 80)}`,
    )
  },

  /** Keys are any well-formed text except `__proto__`; the result has no prototype, so any key is safe to look up. */
  record<Out>(valueType: Schema<Out>, maxKeys: number): Type<Record<string, Out>> {
    const { spec, read, diagnose } = requirePresent('t.record', valueType)
    const max = bound('t.record', maxKeys)
    return new Descriptor<Record<string, Out>>(
      { kind: 'record', item: spec, max },
      (value) => {
        if (!isObject(value)) return INVALID
        const keys = Object.keys(value)
        if (keys.length > max) return INVALID
        const out = Object.create(null) as Record<string, Out>
        for (let i = 0; i < keys.length; i++) {
          const key = keys[i] as string
          const got = isKey(key) ? read(value[key]) : INVALID
          if (got === INVALID) return INVALID
          out[key] = got
        }
        return out
      },
      (value) => {
        if (!isObject(value)) return mismatch('record', value)
        const keys = Object.keys(value)
        if (keys.length > max) return tooMany(`record of ${keys.length} keys`, max, keys)
        const key = keys.find((one) => !isKey(one) || read(value[one]) === INVALID) ?? ''
        return nestIssue(key, isKey(key) ? diagnose(value[key]) : { message: 'key is not allowed', path: [] })
      },
    )
  },

  /** Unknown keys are dropped; the result is a fresh object with its keys in the declared order. */
  object<F extends Fields>(fields: F): Type<InferFields<F>> {
    const names = fieldNames('t.object', fields)
    const parts = names.map((name) => compileSchema(`field ${shorten(name)}`, fields[name]))
    for (const name of names)
      if (name === '' || name === '__proto__' || /^\d+$/.test(name))
        throw new DefinitionError(`field ${shorten(name)}: the name is empty, a number or __proto__`)
    const reads = parts.map((part) => part.read)
    // A field named `constructor` must not be read from Object.prototype.
    const inherited = names.map((name) => name in Object.prototype)
    const field = (value: Record<string, unknown>, i: number): unknown => {
      const name = names[i] as string
      return inherited[i] && !Object.hasOwn(value, name) ? undefined : value[name]
    }
    return new Descriptor<InferFields<F>>(
      {
        kind: 'object',
        fields: Object.fromEntries(names.map((name, i) => [name, (parts[i] as CompiledSchema<unknown>).spec])),
      },
      (value) => {
        if (!isObject(value)) return INVALID
        const out: Record<string, unknown> = {}
        for (let i = 0; i < names.length; i++) {
          const got = (reads[i] as ReadValue<unknown>)(field(value, i))
          if (got === INVALID) return INVALID
          if (got !== undefined) out[names[i] as string] = got
        }
        return out as InferFields<F>
      },
      (value) => {
        if (!isObject(value)) return mismatch('object', value)
        const at = parts.findIndex((part, i) => part.read(field(value, i)) === INVALID)
        const part = parts[at]
        if (part === undefined) return { message: 'changed during validation', path: [] }
        const got = field(value, at)
        const missing = { message: `missing, expected ${part.spec.kind}`, path: [] }
        return nestIssue(
          names[at] as string,
          got === undefined && part.spec.kind !== 'foreign' ? missing : part.diagnose(got),
        )
      },
    )
  },
}

/**
 * Converts a plain object of fields to t.object; returns a Type or a Standard Schema unchanged. If no field is required,
 * undefined is an empty object: it is the value of an empty body.
 */
export function schemaOf<S extends Shape>(shape: S, what = 'fields'): Schema<Infer<S>> {
  if (isSchema(shape)) return shape as Schema<Infer<S>>
  fieldNames(what, shape)
  const { spec, read, diagnose } = t.object(shape) as Descriptor<unknown>
  const acceptsEmpty = read({}) !== INVALID
  const root = new Descriptor<unknown>(
    spec,
    (value) => read(value === undefined && acceptsEmpty ? {} : value),
    diagnose,
  )
  return root as Type<unknown> as Schema<Infer<S>>
}

/** The spec of a schema; of a foreign schema only the vendor is known. */
export function specOf(schema: Schema<unknown>): TypeSpec {
  return compileSchema('schema', schema).spec
}

/**
 * Returns a function that returns the validated value or throws an InputError, whose path starts with `root`.
 * @throws DefinitionError (the function) when a foreign schema returns a promise
 */
export function toParser<Out>(schema: Schema<Out>, root = 'input'): (value: unknown) => Out {
  const part = compileSchema('schema', schema)
  return (value) => parseOrThrow(part, value, root)
}

/**
 * Returns a function that checks a stored value, which the schema has returned before. A schema of another library may
 * transform its input, so what it returned may not be one: such a value is not checked again.
 */
export function toRestorer<Out>(schema: Schema<Out>): (stored: unknown) => Out {
  return findKind(specOf(schema), ['foreign']) === null ? toParser(schema) : (stored) => stored as Out
}

function orEmpty<Out, Empty>(kind: 'optional' | 'nullable', empty: Empty, type: Schema<Out>): Type<Out | Empty> {
  const { spec, read, diagnose } = requirePresent(`t.${kind}`, type)
  const readOrEmpty = (value: unknown): Out | Empty | typeof INVALID => (value === empty ? empty : read(value))
  return new Descriptor<Out | Empty>({ kind, item: spec }, readOrEmpty, diagnose)
}

// `describe` receives only values of the right JavaScript type; any other is an `expected ..., got ...`.
function scalar<Out>(
  spec: TypeSpec,
  accepts: (value: unknown) => boolean,
  describe?: (value: Out) => string,
): Type<Out> {
  const isOfType = (value: unknown): value is Out =>
    spec.kind === 'bytes' ? value instanceof Uint8Array : typeof value === 'string'
  return new Descriptor<Out>(
    spec,
    (value) => (accepts(value) ? (value as Out) : INVALID),
    (value) => (describe && isOfType(value) ? { message: describe(value), path: [] } : mismatch(spec.kind, value)),
  )
}

// NaN fails both comparisons. Adding 0 turns -0 into 0, which msgpack would not preserve.
function number(kind: NumberKind, min: number, max: number): Type<number> {
  const whole = kind !== 'f32' && kind !== 'f64'
  return new Descriptor<number>(
    { kind, min, max },
    (value) =>
      typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value))
        ? value + 0
        : INVALID,
    (value) => {
      if (typeof value !== 'number') return mismatch(kind, value)
      if (!Number.isFinite(value)) return { message: `${value} is not a finite number`, path: [] }
      const message = value < min || value > max ? `${value} is outside ${min}..${max}` : `${value} is not whole`
      return { message, path: [] }
    },
  )
}

function tooMany(what: string, max: number, values: readonly unknown[]): Issue {
  return { message: `${what} exceeds ${max}: ${shortenList(values)}`, path: [] }
}

function isId(value: unknown): boolean {
  if (typeof value !== 'string' || value.length < 1 || value.length > 64) return false
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i)
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a
    if (!letter && !(c >= 0x30 && c <= 0x39) && c !== 0x5f && c !== 0x2d) return false
  }
  return true
}

function isKey(key: string): boolean {
  return key !== '__proto__' && key.isWellFormed()
}

function bound(what: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new DefinitionError(`${what}: bound ${shorten(value)} is not an integer from 0`)
  return value
}

// Only a field can be absent: arrays and records cannot represent it, nor can msgpack and JSON.
function requirePresent<Out>(what: string, schema: Schema<Out>): CompiledSchema<Out> {
  const part = compileSchema(what, schema)
  if (part.spec.kind === 'optional') throw new DefinitionError(`${what}: its item cannot be t.optional`)
  return part
}
