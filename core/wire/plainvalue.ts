// Walks a value that is about to be encoded. Invariant: whatever an encoder would change or drop without an error is refused
// with its path, so a value that was accepted is read back equal.

import { shorten } from './errors.ts'
import { pathText } from './schema.ts'

/** Base of objects that are valid only in their turn, such as rows: encoding one is a TypeError. */
export class Unserializable {}

/** Deeper values are refused: encoders are recursive. */
const MAX_DEPTH = 256

const MAX_PATH = 32

export type RefusePart = (path: string, why: string) => never

/** Throws a TypeError `what.path: reason`. */
export function refuseAs(what: string): RefusePart {
  return (path, why) => {
    throw new TypeError(`${what}${path}: ${why}`)
  }
}

/** What one encoder does beyond null, booleans, text, plain objects and dense arrays. Each returns the value to encode. */
export interface ValueRules {
  number(value: number, fail: FailValue): unknown
  bigint(value: bigint, fail: FailValue): unknown
  /** `inArray`: an element; else a property. */
  undefined(inArray: boolean, fail: FailValue): unknown
  /** An object with another prototype. `walk` visits a part of it. Returns NOT_HANDLED for one that it does not know. */
  object(value: object, walk: (part: unknown, key: PropertyKey) => unknown, fail: FailValue): unknown
}
export type FailValue = (why: string) => never
export const NOT_HANDLED = Symbol('not handled')

/** What a JSON column stores and reads back equal; a property that is undefined is absent. */
export const JSON_RULES: ValueRules = {
  number: (value, fail) => (Number.isFinite(value) ? value + 0 : fail(`${value} has no form in JSON`)),
  bigint: (_value, fail) => fail('a bigint has no form in JSON'),
  undefined: (inArray, fail) => (inArray ? fail('undefined has no form in a JSON array') : undefined),
  object: () => NOT_HANDLED,
}

/**
 * Returns the value to encode: the value itself, or a copy where the rules replace a part.
 * @param refuse is called with the path of a part that cannot be encoded, and throws
 */
export function walkValue(root: unknown, rules: ValueRules, refuse: RefusePart): unknown {
  const path: PropertyKey[] = []
  const ancestors = new Set<object>()
  const fail = (why: string): never => refuse(pathText(path.slice(0, MAX_PATH)), why)

  const walkAt = (value: unknown, key: PropertyKey, inArray = false): unknown => {
    path.push(key)
    const walked = walk(value, inArray)
    path.pop()
    return walked
  }

  const walk = (value: unknown, inArray: boolean): unknown => {
    switch (typeof value) {
      case 'string':
        return value.isWellFormed() ? value : fail(`${shorten(value)} is not well-formed Unicode`)
      case 'number':
        return rules.number(value, fail)
      case 'boolean':
        return value
      case 'undefined':
        return rules.undefined(inArray, fail)
      case 'bigint':
        return rules.bigint(value, fail)
      case 'object':
        return value === null ? null : walkObject(value)
      default:
        return fail(`a ${typeof value} cannot be stored or sent`)
    }
  }

  const walkObject = (value: object): unknown => {
    if (ancestors.has(value)) return fail('the value contains itself')
    if (ancestors.size >= MAX_DEPTH) return fail(`is nested deeper than ${MAX_DEPTH}`)
    ancestors.add(value)
    const walked = Array.isArray(value) ? walkArray(value) : isPlain(value) ? walkFields(value) : walkOther(value)
    ancestors.delete(value)
    return walked
  }

  const walkOther = (value: object): unknown => {
    const handled = rules.object(value, walkAt, fail)
    if (handled !== NOT_HANDLED) return handled
    if (value instanceof Unserializable) return fail('a row is valid only in its turn; use its values')
    const name = nameOf(value)
    return fail(`an instance of ${name} cannot be stored or sent; use a plain object of its fields`)
  }

  const walkArray = (array: readonly unknown[]): unknown => {
    // A hole, or a property such as the `index` of a regular expression's match: it comes after the indices.
    const keys = Object.keys(array)
    const isDense = keys.length === array.length && (keys.at(-1) ?? '-1') === String(array.length - 1)
    if (!isDense || Object.getOwnPropertySymbols(array).length > 0)
      return fail('the array has holes, or properties of its own')
    let copy: unknown[] | null = null
    for (let i = 0; i < array.length; i++) {
      const element = array[i]
      const walked = typeof element === 'boolean' ? element : walkAt(element, i, true)
      if (Object.is(walked, element)) continue
      copy ??= array.slice()
      copy[i] = walked
    }
    return copy ?? array
  }

  const walkFields = (object: object): unknown => {
    const fields = object as Record<string, unknown>
    const names = Object.keys(fields)
    if (Object.getOwnPropertySymbols(fields).length > 0) return fail('a symbol cannot be the name of a field')
    // Reflect.ownKeys takes 20 times as long as these two.
    if (Object.getOwnPropertyNames(fields).length !== names.length) return failHidden(fields)
    let copy: Record<string, unknown> | null = null
    for (const name of names) {
      if (name === '__proto__' || !name.isWellFormed()) return fail(`${shorten(name)} cannot be the name of a field`)
      const field = fields[name]
      const walked = walkAt(field, name)
      if (Object.is(walked, field)) continue
      copy ??= { ...fields }
      copy[name] = walked
    }
    return copy ?? object
  }

  const failHidden = (fields: object): never => {
    path.push(
      Object.getOwnPropertyNames(fields).find((name) => !Object.prototype.propertyIsEnumerable.call(fields, name))!,
    )
    return fail('the field is not enumerable, so it cannot be stored or sent')
  }

  return walk(root, false)
}

/** Listing the names of a view takes 60 ns per element, and its encoding almost none: longer views are not examined. */
const MAX_NAMED_ELEMENTS = 64

/** Refuses own properties of an object whose form has no place for them, such as `Object.assign(new Map(), { x: 1 })`. */
export function refuseOwnProperties(value: object, fail: FailValue): void {
  const elements = ArrayBuffer.isView(value) ? (value as Uint8Array).length : 0
  if (elements > MAX_NAMED_ELEMENTS) return
  const prototype = Object.getPrototypeOf(value) as object
  // The methods of a frozen Map are own properties too, and no data.
  const extra = Reflect.ownKeys(value).find((key, i) => i >= elements && !(key in prototype))
  if (extra !== undefined) fail(`has the property ${shorten(extra)} of its own, which cannot be stored or sent`)
}

/** A literal, or an object without prototype; of any realm, because test runners use several. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function nameOf(value: object): string {
  const { constructor } = value as { constructor?: { name?: unknown } }
  const name = constructor?.name
  return typeof name === 'string' && /^\w{1,60}$/.test(name) ? name : 'a class'
}
