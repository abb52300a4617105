/** Freezes JSON with everything in it, because turns share the values of rows. Bytes and dates cannot be frozen. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Date) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
