// A WebSocket by hand over a raw connection: every bit of a frame's head can be wrong (RFC 6455 section 5.2), and so can
// the upgrade. It reads what the server says strictly, and never answers by itself.

import { randomBytes } from 'node:crypto'
import { waitUntil } from '../../support/sockets.ts'
import { createFrameDecoder } from './frames.ts'
import { RawPeer } from './peer.ts'

export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const

export interface FrameHead {
  /** Default true. */
  readonly fin?: boolean
  /** Bits RSV1, RSV2, RSV3 as 4, 2, 1. */
  readonly rsv?: number
  /** Default binary. */
  readonly opcode?: number
  /** Default true, as a client must. */
  readonly masked?: boolean
  /** Bytes of the extended length; default the fewest that do. */
  readonly width?: 0 | 2 | 8
  /** What the head says; default the truth. */
  readonly length?: bigint
}

/** One WebSocket frame of a client. */
export function clientMessage(payload: Uint8Array = new Uint8Array(0), head: FrameHead = {}): Buffer {
  const { fin = true, rsv = 0, opcode = OPCODE.BINARY, masked = true } = head
  const length = head.length ?? BigInt(payload.length)
  const width = head.width ?? (length < 126n ? 0 : length < 65_536n ? 2 : 8)
  const extended = Buffer.alloc(width)
  if (width === 2) extended.writeUInt16BE(Number(length))
  else if (width === 8) extended.writeBigUInt64BE(length)
  const short = width === 0 ? Number(length) : width === 2 ? 126 : 127
  const first = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode, (masked ? 0x80 : 0) | short])
  const mask = masked ? randomBytes(4) : Buffer.alloc(0)
  const body = Buffer.from(payload)
  if (masked) for (let at = 0; at < body.length; at++) body[at]! ^= mask[at & 3]!
  return Buffer.concat([first, extended, mask, body])
}

/** A Close frame of a client with this code and reason. */
export function closeMessage(code: number, reason: Uint8Array = new Uint8Array(0)): Buffer {
  const payload = Buffer.alloc(2 + reason.length)
  payload.writeUInt16BE(code)
  payload.set(reason, 2)
  return clientMessage(payload, { opcode: OPCODE.CLOSE })
}

/** The lines of a good upgrade, `change`d in one place: null leaves a header out, a list says it so many times. */
export function upgradeRequest(
  change: Readonly<Record<string, string | null | readonly string[]>> = {},
  line = 'GET /ws HTTP/1.1',
): string {
  const headers: Record<string, string | null | readonly string[]> = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Version': '13',
    ...change,
  }
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === null ? [] : [value].flat().map((one) => `${name}: ${one}`),
  )
  return [line, ...lines, '', ''].join('\r\n')
}

/** What a server said on an upgraded connection. */
export class WebSocketPeer {
  readonly peer: RawPeer
  /** Of the answer to the upgrade; 0 = none yet. */
  status = 0
  responseHead = ''
  closeFrame: { readonly code: number; readonly reason: string } | null = null
  readonly pongs: string[] = []
  #buffer = Buffer.alloc(0)
  readonly #decoder

  private constructor(peer: RawPeer) {
    this.peer = peer
    this.#decoder = createFrameDecoder(peer.frames)
    peer.replaceReader((chunk) => this.#read(chunk))
  }

  /** Says `request` and, in the same write, what follows it. */
  static async connect(
    port: number,
    request: string = upgradeRequest(),
    ...behind: Uint8Array[]
  ): Promise<WebSocketPeer> {
    const one = new WebSocketPeer(await RawPeer.connect(port))
    await one.peer.send(Buffer.from(request, 'latin1'), ...behind)
    await waitUntil(() => one.status !== 0 || one.peer.isClosed, 'an answer to the upgrade')
    return one
  }

  send(...parts: readonly Uint8Array[]): Promise<void> {
    return this.peer.send(...parts)
  }

  /** Resolves with the Close frame, when it has come. */
  async waitForCloseFrame(): Promise<{ readonly code: number; readonly reason: string }> {
    await waitUntil(() => this.closeFrame !== null || this.peer.isClosed, 'a Close frame')
    if (!this.closeFrame) throw new Error('the connection ended without a Close frame')
    return this.closeFrame
  }

  #read(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk])
    if (this.status === 0) this.#readUpgradeResponse()
    while (this.status === 101 && this.#readFrame());
  }

  #readUpgradeResponse(): void {
    const end = this.#buffer.indexOf('\r\n\r\n')
    if (end < 0) return
    this.responseHead = this.#buffer.toString('latin1', 0, end)
    this.status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(this.responseHead)?.[1])
    this.#buffer = this.#buffer.subarray(end + 4)
  }

  /** Takes one whole frame, if there is one. */
  #readFrame(): boolean {
    const buffer = this.#buffer
    if (buffer.length < 2) return false
    const short = buffer[1]!
    if (short > 127) throw new Error('the server masks its frames')
    const at = short < 126 ? 2 : short === 126 ? 4 : 10
    if (buffer.length < at) return false
    const size = short < 126 ? short : short === 126 ? buffer.readUInt16BE(2) : Number(buffer.readBigUInt64BE(2))
    if (buffer.length < at + size) return false
    this.#handleFrame(buffer[0]!, buffer.subarray(at, at + size))
    this.#buffer = buffer.subarray(at + size)
    return true
  }

  #handleFrame(first: number, payload: Buffer): void {
    const opcode = first & 0x0f
    if (opcode === OPCODE.BINARY) this.#decoder.push(payload)
    else if (opcode === OPCODE.PONG) this.pongs.push(payload.toString('latin1'))
    else if (opcode === OPCODE.CLOSE) {
      const code = payload.length < 2 ? 1005 : payload.readUInt16BE(0)
      this.closeFrame = { code, reason: payload.toString('utf8', 2) }
    } else throw new Error(`the server sends opcode ${opcode}`)
  }
}
