// A WebSocket on a raw connection: the upgrade and every bit of a frame header can be wrong (RFC 6455 section 5.2).
// Invariant: it parses the frames of the server strictly and sends nothing by itself.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { EMPTY_BYTES } from '../../../core/wire/bytes.ts'
import { waitUntil } from '../../support/sockets.ts'
import { createFrameDecoder } from './frames.ts'
import { RawPeer } from './peer.ts'

export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const

export interface WebFrameHeader {
  /** Default true. */
  readonly fin?: boolean
  /** Bits RSV1, RSV2, RSV3 as 4, 2, 1. */
  readonly rsv?: number
  /** Default binary. */
  readonly opcode?: number
  /** Default true, which the RFC requires of clients. */
  readonly masked?: boolean
  /** Bytes of the extended length. Default: the minimum. */
  readonly width?: 0 | 2 | 8
  /** The declared length. Default: the length of the payload. */
  readonly length?: bigint
}

/** One WebSocket frame of a client. */
export function clientMessage(payload: Uint8Array = EMPTY_BYTES, header: WebFrameHeader = {}): Buffer {
  const { fin = true, rsv = 0, opcode = OPCODE.BINARY, masked = true } = header
  const length = header.length ?? BigInt(payload.length)
  const width = header.width ?? (length < 126n ? 0 : length < 65_536n ? 2 : 8)
  const extended = Buffer.alloc(width)
  if (width === 2) extended.writeUInt16BE(Number(length))
  else if (width === 8) extended.writeBigUInt64BE(length)
  const short = width === 0 ? Number(length) : width === 2 ? 126 : 127
  const first = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode, (masked ? 0x80 : 0) | short])
  const mask = masked ? randomBytes(4) : EMPTY_BYTES
  const body = Buffer.from(payload)
  if (masked) for (let at = 0; at < body.length; at++) body[at]! ^= mask[at & 3]!
  return Buffer.concat([first, extended, mask, body])
}

/** A Close frame of a client with this code and reason. */
export function closeMessage(code: number, reason: Uint8Array = EMPTY_BYTES): Buffer {
  const payload = Buffer.alloc(2 + reason.length)
  payload.writeUInt16BE(code)
  payload.set(reason, 2)
  return clientMessage(payload, { opcode: OPCODE.CLOSE })
}

/** A valid upgrade with changed headers: null omits a header, a list repeats it. */
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
    value === null ? [] : [value].flat().map((text) => `${name}: ${text}`),
  )
  return [line, ...lines, '', ''].join('\r\n')
}

export class WebSocketPeer {
  readonly peer: RawPeer
  /** HTTP status of the upgrade; 0 = no response yet. */
  status = 0
  responseHead = ''
  closeFrame: { readonly code: number; readonly reason: string } | null = null
  pongs = 0
  #buffer = Buffer.alloc(0)
  readonly #decoder

  private constructor(peer: RawPeer) {
    this.peer = peer
    this.#decoder = createFrameDecoder(peer.frames)
    peer.replaceReader((chunk) => this.#read(chunk))
  }

  /** Sends `request` and, in the same write, the bytes after it. */
  static async connect(port: number, request: string, ...after: readonly Uint8Array[]): Promise<WebSocketPeer> {
    const web = new WebSocketPeer(await RawPeer.connect(port))
    await web.peer.send(Buffer.from(request, 'latin1'), ...after)
    await waitUntil(() => web.status !== 0 || web.peer.isClosed, 'a response to the upgrade')
    return web
  }

  send(...parts: readonly Uint8Array[]): Promise<void> {
    return this.peer.send(...parts)
  }

  /** Waits for a Close frame with this code. `reason`: the close reason at the start of its text. */
  async assertClosed(code: number, reason?: string): Promise<void> {
    await waitUntil(() => this.closeFrame !== null || this.peer.isClosed, 'a Close frame')
    assert.equal(this.closeFrame?.code, code)
    if (reason !== undefined) assert.ok(this.closeFrame.reason.startsWith(`${reason}: `), this.closeFrame.reason)
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

  /** Reads one frame; returns false when it is incomplete. */
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
    else if (opcode === OPCODE.PONG) this.pongs++
    else if (opcode === OPCODE.CLOSE) {
      const code = payload.length < 2 ? 1005 : payload.readUInt16BE(0)
      this.closeFrame = { code, reason: payload.toString('utf8', 2) }
    } else throw new Error(`the server sends opcode ${opcode}`)
  }
}
