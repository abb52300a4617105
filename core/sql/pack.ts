// Firefly's own values as bytes (MessagePack): outbox entries, and durable casts as `firefly_cast.data` holds them.
// Invariant: an unpacked value equals the packed one, and its byte arrays are copies.

import { Packr, RESET_BUFFER_MODE, Unpackr } from 'msgpackr/index-no-eval'
import type { StoredCast } from '../ports/store.ts'

// Only Firefly writes these bytes, so they are not scanned; a large turn may have more items than a client may send.
const PACKR_OPTIONS = {
  useRecords: false,
  mapsAsObjects: true,
  structuredClone: false,
  copyBuffers: true,
  int64AsType: 'auto',
  skipValues: [],
  encodeUndefinedAsNil: true,
  useToJSON: false,
} as const
const packr = new Packr({ ...PACKR_OPTIONS })
const unpackr = new Unpackr({ ...PACKR_OPTIONS })

type PackedCastData = [
  contract: string,
  key: string,
  command: number,
  body: Uint8Array,
  answer: string,
  data: Uint8Array,
]

export function pack(value: unknown): Uint8Array {
  return new Uint8Array(packr.pack(value, RESET_BUFFER_MODE))
}

export function unpack(data: Uint8Array): unknown {
  return unpackr.unpack(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
}

export function encodeCast({ target, command, body, answer, data }: StoredCast): Uint8Array {
  return pack([target.contract, target.key, command, body, answer, data] satisfies PackedCastData)
}

export function decodeCast(sequence: number, bytes: Uint8Array): StoredCast {
  const [contract, key, command, body, answer, data] = unpack(bytes) as PackedCastData
  return { sequence, target: { contract, key }, command, body, answer, data }
}
