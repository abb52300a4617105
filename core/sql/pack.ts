// Our own values as bytes: outbox entries and casts. Invariant: what is unpacked equals what was packed, bytes are copies.

import { Packr, RESET_BUFFER_MODE, Unpackr } from 'msgpackr/index-no-eval'

// Our own bytes, so no scan; the items of a large turn may exceed what a client may send.
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

export function pack(value: unknown): Uint8Array {
  return new Uint8Array(packr.pack(value, RESET_BUFFER_MODE))
}

export function unpack(data: Uint8Array): unknown {
  return unpackr.unpack(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
}
