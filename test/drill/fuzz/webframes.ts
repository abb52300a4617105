// WebSocket frames of a client as bytes (RFC 6455 section 5.2), valid ones and others. Invariant: the masking key is
// zeros, so the payload is sent unchanged.

import fc from 'fast-check'

import { EMPTY_BYTES } from '../../../core/wire/bytes.ts'
import { boundaryNumber, byteEdits, editBytes, join } from './arbitraries/byteedits.ts'
import type { ValueOf } from './arbitraries/step.ts'

export const FIN = 0x80
const MASKED = 0x80
const KEY_BYTES = 4

const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

export const UPGRADE = Buffer.from(
  'GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
)

export function webFrame(payload: Uint8Array, firstByte = FIN | BINARY, isMasked = true): Uint8Array {
  const size = payload.length
  const lengthBytes = size < 126 ? 0 : size < 65_536 ? 2 : 8
  const head = new Uint8Array(2 + lengthBytes + (isMasked ? KEY_BYTES : 0))
  head[0] = firstByte
  head[1] = (isMasked ? MASKED : 0) | (lengthBytes === 0 ? size : lengthBytes === 2 ? 126 : 127)
  for (let i = 0, left = size; i < lengthBytes; i++, left = Math.floor(left / 256))
    head[1 + lengthBytes - i] = left & 0xff
  return join([head, payload])
}

/** Code 1000: the server ends the session. */
export const WEB_CLOSE = webFrame(new Uint8Array([0x03, 0xe8]), FIN | CLOSE)

export const webDamage = fc.record({
  kind: fc.constantFrom(
    ...(['bytes', 'first byte', 'unmasked', 'fragments', 'short length', 'long length'] as const),
    ...(['close', 'control frame', 'text'] as const),
  ),
  edits: byteEdits,
  byte: fc.nat(255),
  at: fc.nat(),
  isReversed: fc.nat(9).map((n) => n > 6),
  length: fc.array(fc.oneof(fc.constant(0), boundaryNumber), { minLength: 8, maxLength: 8 }),
  code: fc.oneof(fc.integer({ min: 1_000, max: 1_019 }), fc.nat(65_535)),
})

/** The payload in frames that violate the protocol, or are at its limits. */
export function damagedWebFrame(payload: Uint8Array, how: ValueOf<typeof webDamage>): Uint8Array {
  const { kind, edits, byte, at, code } = how
  const cut = at % (payload.length + 1)
  switch (kind) {
    case 'bytes':
      return editBytes(webFrame(payload), edits)
    case 'first byte':
      return webFrame(payload, byte)
    case 'unmasked':
      return webFrame(payload, FIN | BINARY, false)
    case 'fragments': {
      // With a control frame between them.
      const ping = webFrame(payload.subarray(0, byte % 130), FIN | PING)
      const parts = [webFrame(payload.subarray(0, cut), BINARY), ping, webFrame(payload.subarray(cut), FIN)]
      return join(how.isReversed ? parts.toReversed() : parts)
    }
    case 'short length':
      return webFrame(payload).with(1, MASKED | byte)
    case 'long length':
      return join([new Uint8Array([FIN | BINARY, MASKED | 127, ...how.length]), payload])
    case 'close': {
      const body = join([new Uint8Array([code >> 8, code]), payload])
      return webFrame(body.subarray(0, at % (Math.min(body.length, 140) + 1)), FIN | CLOSE)
    }
    case 'control frame':
      return webFrame(payload.subarray(0, 125), FIN | CLOSE | (byte & 7))
    default:
      return webFrame(payload, FIN | TEXT)
  }
}

/** Splits a server's bytes into WebSocket frames, which have no mask. */
export class WebReader {
  #rest: Uint8Array = EMPTY_BYTES
  readonly #sink: (opcode: number, payload: Uint8Array) => void

  constructor(sink: (opcode: number, payload: Uint8Array) => void) {
    this.#sink = sink
  }

  push(chunk: Uint8Array): void {
    let bytes = this.#rest.length === 0 ? chunk : join([this.#rest, chunk])
    for (;;) {
      const short = (bytes[1] ?? 0) & 127
      const lengthBytes = short < 126 ? 0 : short === 126 ? 2 : 8
      const start = 2 + lengthBytes
      if (bytes.length < start) break
      let size = lengthBytes === 0 ? short : 0
      for (let i = 2; i < start; i++) size = size * 256 + bytes[i]!
      if (bytes.length < start + size) break
      this.#sink(bytes[0]! & 15, bytes.subarray(start, start + size))
      bytes = bytes.subarray(start + size)
    }
    this.#rest = bytes
  }
}
