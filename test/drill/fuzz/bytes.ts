// Mutations of plain bytes: of frames, of bodies, of fields. Same chance, same bytes; the source is never changed.

import { writeU32 } from '../../../core/wire/bytes.ts'
import { MESSAGE } from '../../../core/wire/message.ts'
import type { Random } from '../../support/random.ts'

/** Where numbers of 1, 2 and 4 bytes change their meaning. */
const EDGES = [
  0,
  1,
  2,
  3,
  4,
  5,
  17,
  31,
  32,
  33,
  127,
  128,
  255,
  256,
  511,
  512,
  513,
  4_096,
  65_535,
  65_536,
  65_537,
  65_540,
  65_541,
  131_072,
  0x7fff_ffff,
  0x8000_0000,
  0xffff_fe00,
  ...Object.values(MESSAGE),
  0xffff_ff0f,
  0xffff_fffe,
  0xffff_ffff,
]

export function edge(random: Random): number {
  return EDGES[random.below(EDGES.length)]!
}

/** 1..3 changes. */
export function mutateBytes(random: Random, source: Uint8Array): Uint8Array {
  let bytes = source
  for (let left = 1 + random.below(3); left > 0; left--) bytes = mutateOnce(random, bytes)
  return bytes
}

function mutateOnce(random: Random, source: Uint8Array): Uint8Array {
  const size = source.length
  const choice = random.below(9)
  if (size === 0 || choice === 0) {
    const added = Uint8Array.from({ length: 1 + random.below(8) }, () => random.below(256))
    const at = random.below(size + 1)
    return join([source.subarray(0, at), added, source.subarray(at)])
  }
  const at = random.below(size)
  const span = Math.min(size - at, 1 + random.below(8))
  if (choice === 1) return join([source.subarray(0, at), source.subarray(at + span)])
  if (choice === 2) return source.slice(0, at)
  if (choice === 3) return join([source.subarray(0, at + span), source.subarray(at)])
  if (choice === 4) {
    const other = Uint8Array.from({ length: span }, () => edge(random) & 0xff)
    return join([source.subarray(0, at), other, source.subarray(at + span)])
  }
  const bytes = new Uint8Array(source)
  if (choice < 7) bytes[at]! ^= 1 << random.below(8)
  else if (choice === 7 || size < 4) bytes[at] = edge(random) & 0xff
  else writeU32(bytes, random.below(size - 3), edge(random))
  return bytes
}

/** The beginning of one and the end of the other. */
export function splice(random: Random, first: Uint8Array, second: Uint8Array): Uint8Array {
  return join([
    first.subarray(0, random.below(first.length + 1)),
    second.subarray(random.below(second.length + 1)),
  ])
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  let size = 0
  for (const part of parts) size += part.length
  const whole = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
