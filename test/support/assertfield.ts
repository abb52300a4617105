// One field of many objects, compared at once.

import assert from 'node:assert/strict'

/** Asserts the values of one field, in the order of the objects. */
export function assertField<T extends object>(
  objects: Iterable<T>,
  field: keyof T,
  expected: readonly unknown[],
): void {
  assert.deepEqual(
    Array.from(objects, (object) => object[field]),
    expected,
  )
}
