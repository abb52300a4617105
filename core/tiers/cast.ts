// A durable cast as `firefly_cast.data` holds it. Invariant: what is read is what was written, byte for byte.

import { Packr, RESET_BUFFER_MODE, Unpackr } from 'msgpackr/index-no-eval'

import type { StoredCast } from '../run/ports.ts'

// Our own bytes, so no scan.
const options = {
  useRecords: false,
  mapsAsObjects: true,
  structuredClone: false,
  copyBuffers: true,
  int64AsType: 'auto',
  skipValues: [],
  encodeUndefinedAsNil: true,
} as const
const packr = new Packr({ ...options })
const unpackr = new Unpackr({ ...options })
type PackedCast = [
  contract: string,
  key: string,
  command: number,
  body: Uint8Array,
  answer: string,
  data: Uint8Array,
]

export function encodeCast({ target, command, body, answer, data }: StoredCast): Uint8Array {
  const packed: PackedCast = [target.contract, target.key, command, body, answer, data]
  return new Uint8Array(packr.pack(packed, RESET_BUFFER_MODE))
}

export function decodeCast(sequence: number, bytes: Uint8Array): StoredCast {
  const [contract, key, command, body, answer, data] = unpackr.unpack(bytes) as PackedCast
  return { sequence, target: { contract, key }, command, body, answer, data }
}
