// Edits of plain bytes: frames, bodies and fields. Invariant: an edit is applied modulo the number of places, so every
// edit fits all bytes, and it never changes its source.

import fc from 'fast-check'

import { writeU32 } from '../../../../core/wire/bytes.ts'
import { MESSAGE } from '../../../../core/wire/message.ts'
import { bytesOf, oneToThree, type ValueOf } from './step.ts'

/** Values around which numbers of 1, 2 and 4 bytes change their meaning. */
export const boundaryNumber = fc.constantFrom(
  ...[0, 1, 2, 3, 4, 5, 17, 31, 32, 33, 127, 128, 255, 256, 511, 512, 513, 4_096],
  ...[65_535, 65_536, 65_537, 65_540, 65_541, 131_072, 0x7fff_ffff, 0x8000_0000, 0xffff_fe00],
  ...Object.values(MESSAGE),
  ...[0xffff_ff0f, 0xffff_fffe, 0xffff_ffff],
)

const byteEdit = fc.record({
  op: fc.constantFrom('delete', 'truncate', 'insert', 'repeat', 'overwrite', 'flip', 'flip', 'set', 'set u32'),
  at: fc.nat(),
  span: fc.integer({ min: 1, max: 8 }),
  bytes: bytesOf(1, 8),
  value: boundaryNumber,
})
export const byteEdits = oneToThree(byteEdit)
export type ByteEdits = ValueOf<typeof byteEdits>

export function editBytes(source: Uint8Array, edits: ByteEdits): Uint8Array {
  return edits.reduce(editOnce, source)
}

function editOnce(source: Uint8Array, { op, at: place, span, bytes, value }: ByteEdits[number]): Uint8Array {
  const at = place % (source.length || 1)
  const replaceSpan = (length: number, added: Uint8Array): Uint8Array =>
    join([source.subarray(0, at), added, source.subarray(at + length)])
  if (op === 'insert' || source.length === 0) return replaceSpan(0, bytes)
  if (op === 'delete') return replaceSpan(span, bytes.subarray(0, 0))
  if (op === 'truncate') return source.slice(0, at)
  if (op === 'repeat') return replaceSpan(0, source.subarray(at, at + span))
  if (op === 'overwrite') return replaceSpan(span, new Uint8Array(span).fill(value))
  const edited = new Uint8Array(source)
  if (op === 'flip') edited[at]! ^= 1 << (span - 1)
  else if (op === 'set u32' && source.length >= 4) writeU32(edited, place % (source.length - 3), value)
  else edited[at] = value
  return edited
}

/** The beginning of one source and the end of another. */
export const cuts = fc.record({ end: fc.nat(), start: fc.nat() })
export function splice(first: Uint8Array, second: Uint8Array, { end, start }: ValueOf<typeof cuts>): Uint8Array {
  return join([first.subarray(0, end % (first.length + 1)), second.subarray(start % (second.length + 1))])
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let end = 0
  for (const part of parts) {
    joined.set(part, end)
    end += part.length
  }
  return joined
}
