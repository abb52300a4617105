// How many items and levels the body of a contract's entry may have. They follow from its type, so that every value that the
// type accepts can be sent; a body that no type describes gets SCAN_LIMITS.

import { DefinitionError } from './errors.ts'
import { SCAN_LIMITS } from './limits.ts'
import { MAX_SCAN_DEPTH, type ScanLimits } from './scan.ts'
import { findKind, UNDESCRIBED_KINDS, type TypeSpec } from './schema.ts'

export interface BodyBounds extends ScanLimits {
  /** A part is t.unknown or described by another library, so a value may hold what the codec would change without an error. */
  readonly isForeign: boolean
}

export const DEFAULT_BOUNDS: BodyBounds = { ...SCAN_LIMITS, isForeign: false }

/**
 * The bounds of a body of this type.
 * @param foreignItems the items of each part that a schema of another library describes
 * @throws DefinitionError for a type that is nested too deep
 */
export function boundsOf(what: string, spec: TypeSpec, foreignItems: number = SCAN_LIMITS.items): BodyBounds {
  const depth = depthOf(spec)
  if (depth > MAX_SCAN_DEPTH)
    throw new DefinitionError(`${what}: the type is nested ${depth} levels deep, which exceeds ${MAX_SCAN_DEPTH}`)
  const isForeign = findKind(spec, UNDESCRIBED_KINDS) !== null
  const items = Math.max(SCAN_LIMITS.items, itemsOf(spec, foreignItems))
  return { depth: Math.max(SCAN_LIMITS.depth, depth), items, isForeign }
}

/** The most array elements and map entries in a value of the type. */
function itemsOf(spec: TypeSpec, foreignItems: number): number {
  if (UNDESCRIBED_KINDS.includes(spec.kind)) return foreignItems
  if (spec.kind === 'array' || spec.kind === 'record') return spec.max * (1 + itemsOf(spec.item, foreignItems))
  if ('item' in spec) return itemsOf(spec.item, foreignItems)
  if (spec.kind !== 'object') return 0
  return Object.values(spec.fields).reduce((sum, field) => sum + 1 + itemsOf(field, foreignItems), 0)
}

function depthOf(spec: TypeSpec): number {
  if (spec.kind === 'array' || spec.kind === 'record') return 1 + depthOf(spec.item)
  if ('item' in spec) return depthOf(spec.item)
  if (spec.kind !== 'object') return 0
  return 1 + Math.max(0, ...Object.values(spec.fields).map(depthOf))
}
