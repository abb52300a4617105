// What one connection writes: frames, gathered until the event in hand is done, behind what belongs before them. A peer
// that reads too slowly is first spared its events, which then wait beside their shards, and in the end let go.

import type { Gateway, Transport } from './gateway.ts'
import { WriteBuffer } from './writebuffer.ts'

/** The connection that it writes for. */
export interface OutboundWriterOwner {
  readonly gateway: Gateway
  readonly transport: Transport
  /** Events had better wait, until (false) the peer has read. */
  onCongestionChanged(isCongested: boolean): void
  /** The peer reads too slowly to be kept. */
  onSlowConsumer(message: string): void
  /** A bug of ours. */
  onInternalError(error: unknown): void
}

export class OutboundWriter {
  readonly #owner: OutboundWriterOwner
  readonly #buffer: WriteBuffer
  /** The event in hand flushes when it is done. */
  isBatching = false
  #isFlushScheduled = false
  /** Something must be written first. */
  #corkCount = 0
  /** Its events wait; how much was not read, when last looked, and when that last became less. */
  #isCongested = false
  #unreadBytes = 0
  #lastProgressMs = 0
  #isClosed = false

  constructor(owner: OutboundWriterOwner) {
    const { slab, frameIdentityBytes: identityBytes } = owner.gateway
    this.#owner = owner
    this.#buffer = new WriteBuffer(slab, identityBytes)
  }

  writeFrame(command: number, body: Uint8Array): void {
    if (this.#isClosed) return
    this.#buffer.appendFrame(command, body)
    this.#afterAppend()
  }

  writeMessage(command: number, first: number, second: number, third: number | null, body: Uint8Array): void {
    if (this.#isClosed) return
    this.#buffer.appendMessage(command, first, second, third, body)
    this.#afterAppend()
  }

  /** A frame that many connections are given, encoded once. */
  writeBroadcast(command: number, body: Uint8Array): void {
    if (this.#isClosed) return
    this.#buffer.appendEncoded(this.#owner.gateway.encodeBroadcast(command, body))
    this.#afterAppend()
  }

  /** Nothing more is written until `first` has put in what belongs before it. */
  corkUntil(first: Promise<void>): void {
    this.#corkCount++
    const uncork = (): void => {
      this.#corkCount--
      this.flush()
    }
    first.then(uncork, (error: unknown) => {
      uncork()
      this.#owner.onInternalError(error)
    })
  }

  #afterAppend(): void {
    const { gateway } = this.#owner
    // A burst that is larger than what may wait shows at once whether its reader keeps up.
    if (this.#buffer.bytes > gateway.limits.maxUnreadBytes) this.flush()
    if (this.#isFlushScheduled || this.isBatching) return
    this.#isFlushScheduled = true
    gateway.scheduleFlush(this)
  }

  /** So much waits for its reader that events had better wait elsewhere. */
  get isOverUnreadLimit(): boolean {
    const { gateway, transport } = this.#owner
    return this.#buffer.bytes + transport.bufferedBytes > gateway.limits.maxUnreadBytes
  }

  /** Gives the socket what is ready. */
  flush(): void {
    this.#isFlushScheduled = false
    if (this.#isClosed || this.#corkCount > 0) return
    const bytes = this.#buffer.take()
    if (bytes === null) return
    const { gateway, transport } = this.#owner
    const { meter, limits, clock } = gateway
    meter.bytesOut += bytes.length
    transport.write(bytes)
    const { bufferedBytes } = transport
    if (bufferedBytes > limits.maxOutboundBytes) {
      this.#owner.onSlowConsumer(`${bufferedBytes} unread bytes exceed ${limits.maxOutboundBytes}`)
    } else if (bufferedBytes > limits.maxUnreadBytes && !this.#isCongested) {
      this.#isCongested = true
      this.#unreadBytes = bufferedBytes
      this.#lastProgressMs = Math.trunc(clock.mono())
      meter.holds++
      this.#owner.onCongestionChanged(true)
      gateway.watchSlowWriter(this)
    }
  }

  /** @internal Whether it is still read too slowly; asked now and then. */
  checkCongestion(): boolean {
    if (this.#isClosed) return false
    const { limits, clock, times } = this.#owner.gateway
    const unreadBytes = this.#owner.transport.bufferedBytes
    if (unreadBytes < this.#unreadBytes) this.#lastProgressMs = Math.trunc(clock.mono())
    this.#unreadBytes = unreadBytes
    if (unreadBytes > limits.maxUnreadBytes / 2) {
      const stalledMs = clock.mono() - this.#lastProgressMs
      if (stalledMs > times.unreadMs)
        this.#owner.onSlowConsumer(`nothing of ${unreadBytes} bytes was read for ${stalledMs} ms`)
      return !this.#isClosed
    }
    this.#owner.onCongestionChanged(false)
    this.flush()
    this.#isCongested = this.isOverUnreadLimit
    if (this.#isCongested) this.#owner.onCongestionChanged(true)
    return this.#isCongested
  }

  /** Writes what there is, whatever belongs before it: it is the last. */
  flushAndClose(): void {
    this.#corkCount = 0
    this.flush()
    this.closeWriter()
  }

  /** Nothing is written any more. */
  closeWriter(): void {
    this.#isClosed = true
  }
}
