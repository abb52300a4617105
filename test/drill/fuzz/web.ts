// WebSocket frames of a client as bytes (RFC 6455 section 5.2), good ones and others. The masking key is zeros: the
// payload stands as it is.

import type { Random } from '../../support/random.ts'
import { edge, join, mutateBytes } from './bytes.ts'

export const FIN = 0x80
const MASKED = 0x80
const KEY_BYTES = 4

export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

export const UPGRADE = Buffer.from(
  'GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
)

export function webFrame(payload: Uint8Array, first = FIN | BINARY, isMasked = true): Uint8Array {
  const size = payload.length
  const lengthBytes = size < 126 ? 0 : size < 65_536 ? 2 : 8
  const head = new Uint8Array(2 + lengthBytes + (isMasked ? KEY_BYTES : 0))
  head[0] = first
  head[1] = (isMasked ? MASKED : 0) | (lengthBytes === 0 ? size : lengthBytes === 2 ? 126 : 127)
  for (let i = 0, left = size; i < lengthBytes; i++, left = Math.floor(left / 256))
    head[1 + lengthBytes - i] = left & 0xff
  return join([head, payload])
}

/** Code 1000: the client leaves for good. */
export const WEB_CLOSE = webFrame(new Uint8Array([0x03, 0xe8]), FIN | CLOSE)

/** The message in a frame that breaks a rule of the protocol, or nearly does. */
export function brokenFrame(random: Random, message: Uint8Array): Uint8Array {
  const frame = webFrame(message)
  switch (random.below(9)) {
    case 0:
      return mutateBytes(random, frame)
    case 1:
      return webFrame(message, random.below(256))
    case 2:
      return webFrame(message, FIN | BINARY, false)
    case 3: {
      // In fragments, with control frames between them.
      const cut = random.below(message.length + 1)
      const ping = webFrame(message.subarray(0, random.below(130)), FIN | PING)
      const parts = [webFrame(message.subarray(0, cut), BINARY), ping, webFrame(message.subarray(cut), FIN)]
      return join(random.chance(0.7) ? parts : parts.toReversed())
    }
    case 4: {
      // The length lies.
      const lie = new Uint8Array(frame)
      lie[1] = MASKED | random.below(128)
      return lie
    }
    case 5: {
      const head = new Uint8Array([FIN | BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0, 0, 0])
      for (let i = 2; i < 10; i++) head[i] = random.chance(0.5) ? edge(random) & 0xff : 0
      return join([head, message])
    }
    case 6: {
      const code = random.below(2) === 0 ? random.below(65_536) : 1_000 + random.below(20)
      const body = join([new Uint8Array([code >> 8, code & 0xff]), message])
      return webFrame(body.subarray(0, random.below(Math.min(body.length, 140) + 1)), FIN | CLOSE)
    }
    case 7:
      return webFrame(message.subarray(0, 125), FIN | (8 + random.below(8)))
    default:
      return webFrame(message, FIN | 1)
  }
}

/** Cuts a server's bytes into WebSocket frames, which have no mask. */
export class WebReader {
  #rest: Uint8Array = new Uint8Array(0)
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
