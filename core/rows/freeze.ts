/** Freezes a value with everything in it, because turns share stored values. Bytes and dates cannot be frozen. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Date) return value
  if (value instanceof Map || value instanceof Set) {
    for (const inner of value) deepFreeze(inner)
    for (const name of ['set', 'add', 'delete', 'clear'])
      if (name in value) Object.defineProperty(value, name, { value: refuseChange })
  }
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}

/** Their content is not in properties, so Object.freeze does not protect it. */
function refuseChange(): never {
  throw new TypeError('a stored value cannot be changed: set a new one')
}
