// The outbound side of a connection: gathers frames, writes them once per event-loop turn, and detects a slow consumer.
// Invariant: frames leave in order, after what `corkUntil` puts first. For a peer that reads too slowly events are paused at
// their shards; it is closed when its unread bytes exceed the limit or stop shrinking.

import type { GatewayContext, Transport } from './context.ts'
import { WriteBuffer } from './writebuffer.ts'

type WriterContext = Pick<GatewayContext, 'clock' | 'limits' | 'times' | 'meter' | 'slab' | 'frameIdentityBytes'>

export interface OutboundWriterHost extends WriterContext {
  /** Calls `flush` when the current event is done. */
  scheduleFlush(writer: OutboundWriter): void
  /** Polls `checkCongestion` until it returns false. */
  watchSlowWriter(writer: OutboundWriter): void
  /** Returns the frame of a broadcast, encoded once for all connections. */
  encodeBroadcast(event: number, body: Uint8Array): Uint8Array
}

export interface OutboundWriterOwner {
  /** The peer reads too slowly for events, or (false) has caught up. */
  onCongestionChanged(isCongested: boolean): void
  /** The connection must be closed: its peer reads too slowly. */
  onSlowConsumer(message: string): void
  onInternalError(error: unknown): void
}

export class OutboundWriter {
  readonly #owner: OutboundWriterOwner
  readonly #host: OutboundWriterHost
  readonly #transport: Transport
  readonly #buffer: WriteBuffer
  /** Between `beginBatch` and `endBatch`. */
  #isBatching = false
  #isFlushScheduled = false
  /** Number of promises that must settle before the next write. */
  #corkCount = 0
  #isCongested = false
  /** While congested: the unread bytes at the last poll, and when they last shrank. */
  #unreadBytes = 0
  #lastProgressMs = 0
  #isClosed = false

  constructor(owner: OutboundWriterOwner, host: OutboundWriterHost, transport: Transport) {
    this.#owner = owner
    this.#host = host
    this.#transport = transport
    this.#buffer = new WriteBuffer(host.slab, host.frameIdentityBytes)
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

  /** Writes a frame that many connections receive. */
  writeBroadcast(command: number, body: Uint8Array): void {
    if (this.#isClosed) return
    this.#buffer.appendEncoded(this.#host.encodeBroadcast(command, body))
    this.#afterAppend()
  }

  /** Delays all writes until `first` has settled; what it writes is sent first. */
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

  /** Until `endBatch` frames only gather. */
  beginBatch(): void {
    this.#isBatching = true
  }

  endBatch(): void {
    this.#isBatching = false
    this.flush()
  }

  #afterAppend(): void {
    // A burst above the limit is written at once, to detect a slow peer early.
    if (this.#buffer.bytes > this.#host.limits.maxUnreadBytes) this.flush()
    if (this.#isFlushScheduled || this.#isBatching) return
    this.#isFlushScheduled = true
    this.#host.scheduleFlush(this)
  }

  /** So many bytes are unread that events should be paused. */
  get isOverUnreadLimit(): boolean {
    return this.#buffer.bytes + this.#transport.bufferedBytes > this.#host.limits.maxUnreadBytes
  }

  /** Writes the gathered bytes to the socket. */
  flush(): void {
    this.#isFlushScheduled = false
    if (this.#isClosed || this.#corkCount > 0) return
    const bytes = this.#buffer.take()
    if (bytes === null) return
    const { meter, limits, clock } = this.#host
    meter.countBytesOut(bytes.length)
    this.#transport.write(bytes)
    const { bufferedBytes } = this.#transport
    if (bufferedBytes > limits.maxOutboundBytes) {
      this.#owner.onSlowConsumer(`${bufferedBytes} unread bytes exceed ${limits.maxOutboundBytes}`)
    } else if (bufferedBytes > limits.maxUnreadBytes && !this.#isCongested) {
      this.#isCongested = true
      this.#unreadBytes = bufferedBytes
      this.#lastProgressMs = Math.trunc(clock.mono())
      meter.count('holds')
      this.#owner.onCongestionChanged(true)
      this.#host.watchSlowWriter(this)
    }
  }

  /** Returns true while the peer still reads too slowly. */
  checkCongestion(): boolean {
    if (this.#isClosed) return false
    const { limits, clock, times } = this.#host
    const unreadBytes = this.#transport.bufferedBytes
    if (unreadBytes < this.#unreadBytes) this.#lastProgressMs = Math.trunc(clock.mono())
    this.#unreadBytes = unreadBytes
    if (unreadBytes > limits.maxUnreadBytes / 2) {
      const stalledMs = clock.mono() - this.#lastProgressMs
      if (stalledMs > times.unreadMs)
        this.#owner.onSlowConsumer(`none of ${unreadBytes} unread bytes was read for ${stalledMs} ms`)
      return !this.#isClosed
    }
    this.#owner.onCongestionChanged(false)
    this.flush()
    this.#isCongested = this.isOverUnreadLimit
    if (this.#isCongested) this.#owner.onCongestionChanged(true)
    return this.#isCongested
  }

  /** Writes the last bytes, without waiting for `corkUntil`. */
  flushAndClose(): void {
    this.#corkCount = 0
    this.flush()
    this.closeWriter()
  }

  /** Ignores all later writes. */
  closeWriter(): void {
    this.#isClosed = true
  }
}
