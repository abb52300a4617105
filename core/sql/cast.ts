// A durable cast as `firefly_cast.data` holds it. Invariant: what is read is what was written, byte for byte.

import type { StoredCast } from '../ports/store.ts'
import { pack, unpack } from './pack.ts'

type PackedCastData = [
  contract: string,
  key: string,
  command: number,
  body: Uint8Array,
  answer: string,
  data: Uint8Array,
]

export function encodeCast({ target, command, body, answer, data }: StoredCast): Uint8Array {
  const packed: PackedCastData = [target.contract, target.key, command, body, answer, data]
  return pack(packed)
}

export function decodeCast(sequence: number, bytes: Uint8Array): StoredCast {
  const [contract, key, command, body, answer, data] = unpack(bytes) as PackedCastData
  return { sequence, target: { contract, key }, command, body, answer, data }
}
