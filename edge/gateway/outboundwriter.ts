// The outbound side of a connection: gathers frames, writes them once per event-loop turn, and detects a slow consumer.
// Invariant: frames leave in order, after what `corkUntil` puts first. For a peer that reads too slowly events are paused at
// their shards, then its own frames are not read. It is closed when it reads nothing for some time: never in the event that
// wrote the bytes, because the socket had no time to send them (docs/decisions/020). All connections share a bound as well.

import type { GatewayContext, Transport } from './context.ts'
import { MIN_SHARE_BYTES, type UnreadShare } from './unreadbudget.ts'
import { WriteBuffer } from './writebuffer.ts'

type WriterContext = Pick<
  GatewayContext,
  'clock' | 'limits' | 'times' | 'meter' | 'slab' | 'unreadBudget' | 'frameIdentityBytes'
>

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
  /** So many bytes are unread that no more calls should be read, or (false) that they may be again. */
  onBacklogChanged(isOverLimit: boolean): void
  /** The connection must be closed: its peer reads too slowly. */
  onSlowConsumer(message: string): void
  onInternalError(error: unknown): void
}

/** A peer may take a single large message this slowly, about 2 Mbit/s, where its progress is not visible. */
const MIN_BYTES_PER_SECOND = 262_144
/** Unread bytes at the last poll, in multiples of `maxOutboundBytes`, that close a connection before its next write. */
const MAX_BACKLOG_RATIO = 8

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
  readonly #share: UnreadShare
  /** `checkCongestion` is polled. */
  #isWatched = false
  #isCongested = false
  /** While congested: the unread bytes exceed `maxOutboundBytes`, or those of all connections are too many. */
  #isOverLimit = false
  #writtenBytes = 0
  /** While watched: the bytes sent and the transport's `sendProgress` when they last changed, and when that was. */
  #sentBytes = 0
  #sendProgress: number | undefined = undefined
  #lastProgressMs = 0
  /** While watched: the unread bytes at the last poll. */
  #polledBytes = 0
  /** The largest write since the congestion began. */
  #largestWrite = 0
  #isClosed = false

  constructor(owner: OutboundWriterOwner, host: OutboundWriterHost, transport: Transport) {
    this.#owner = owner
    this.#host = host
    this.#share = host.unreadBudget.newShare()
    this.#transport = transport
    const maxMessageBytes = transport.kind === 'ws' ? host.limits.maxMessageBytes : Infinity
    this.#buffer = new WriteBuffer(host.slab, host.frameIdentityBytes, maxMessageBytes)
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

  /** Writes the gathered bytes to the socket. Their reader is judged later, by `checkCongestion`. */
  flush(): void {
    this.#isFlushScheduled = false
    if (this.#isClosed || this.#corkCount > 0) return
    const cuts = this.#buffer.takeCuts()
    const bytes = this.#buffer.take()
    if (bytes === null) return
    const { meter, limits, unreadBudget } = this.#host
    const earlierBytes = Math.min(this.#polledBytes, this.#transport.bufferedBytes)
    const maxEarlierBytes = MAX_BACKLOG_RATIO * limits.maxOutboundBytes
    if (earlierBytes > maxEarlierBytes)
      return this.#owner.onSlowConsumer(`${earlierBytes} unread bytes exceed ${maxEarlierBytes}`)
    if (unreadBudget.refusesWrite(this.#share, bytes.length)) return this.#closeLargest(bytes.length)
    meter.countBytesOut(bytes.length)
    const largestWrite = this.#writeMessages(bytes, cuts)
    this.#writtenBytes += bytes.length
    const { bufferedBytes } = this.#transport
    if (bufferedBytes <= MIN_SHARE_BYTES) return
    this.#largestWrite = Math.max(this.#largestWrite, largestWrite)
    if (!this.#isWatched) this.#watch()
    this.#host.unreadBudget.report(this.#share, bufferedBytes, this.#host.clock.mono())
    if (bufferedBytes <= limits.maxUnreadBytes) return
    this.#startCongestion()
    this.#updateBacklog(bufferedBytes, false)
  }

  /** Returns the bytes of the largest message. */
  #writeMessages(bytes: Uint8Array, cuts: readonly number[] | null): number {
    if (cuts === null) {
      this.#transport.write(bytes)
      return bytes.length
    }
    let start = 0
    let largest = 0
    for (const end of [...cuts, bytes.length]) {
      this.#transport.write(bytes.subarray(start, end))
      largest = Math.max(largest, end - start)
      start = end
    }
    return largest
  }

  #watch(): void {
    this.#isWatched = true
    this.#polledBytes = 0
    this.#recordProgress()
    this.#host.watchSlowWriter(this)
  }

  #startCongestion(): void {
    if (this.#isCongested) return
    this.#isCongested = true
    this.#host.meter.count('holds')
    this.#owner.onCongestionChanged(true)
  }

  #recordProgress(): void {
    this.#sentBytes = this.#writtenBytes - this.#transport.bufferedBytes
    this.#sendProgress = this.#transport.sendProgress
    this.#lastProgressMs = Math.trunc(this.#host.clock.mono())
  }

  /** `mustPause`: all connections together have too many unread bytes. */
  #updateBacklog(unreadBytes: number, mustPause: boolean): void {
    const { maxOutboundBytes } = this.#host.limits
    const isOverLimit = mustPause || unreadBytes > (this.#isOverLimit ? maxOutboundBytes / 2 : maxOutboundBytes)
    if (isOverLimit === this.#isOverLimit) return
    this.#isOverLimit = isOverLimit
    this.#owner.onBacklogChanged(isOverLimit)
  }

  /** Judges a slow reader. Returns true while it must be polled. */
  checkCongestion(): boolean {
    if (this.#isClosed) return false
    const { limits, unreadBudget, clock } = this.#host
    const { bufferedBytes, sendProgress } = this.#transport
    const hasProgress = this.#writtenBytes - bufferedBytes > this.#sentBytes || sendProgress !== this.#sendProgress
    if (hasProgress) this.#recordProgress()
    this.#polledBytes = bufferedBytes
    const verdict = unreadBudget.judge(this.#share, bufferedBytes, clock.mono())
    if (verdict === 'close') {
      this.#closeLargest(0)
      return false
    }
    const mustPause = verdict === 'pause'
    if (mustPause) this.#startCongestion()
    this.#updateBacklog(bufferedBytes, mustPause)
    if (this.#isCongested && (mustPause || bufferedBytes > limits.maxUnreadBytes / 2)) {
      this.#closeStalled(bufferedBytes)
      return !this.#isClosed
    }
    if (this.#isCongested) this.#endCongestion()
    return this.#continueWatch()
  }

  #closeLargest(addedBytes: number): void {
    const unreadBytes = this.#transport.bufferedBytes + addedBytes
    const { bytes, maxBytes } = this.#host.unreadBudget
    this.#owner.onSlowConsumer(
      `${unreadBytes} of the ${bytes} unread bytes of all connections, which exceed ${maxBytes}`,
    )
  }

  #endCongestion(): void {
    this.#largestWrite = 0
    this.#polledBytes = 0
    this.#owner.onCongestionChanged(false)
    this.flush()
    this.#isCongested = this.isOverUnreadLimit
    if (this.#isCongested) this.#owner.onCongestionChanged(true)
  }

  #continueWatch(): boolean {
    if (this.#isClosed) return false
    this.#isWatched = this.#isCongested || this.#transport.bufferedBytes > MIN_SHARE_BYTES
    if (this.#isWatched) return true
    this.#largestWrite = 0
    this.#host.unreadBudget.report(this.#share, 0, this.#host.clock.mono())
    return false
  }

  #closeStalled(unreadBytes: number): void {
    const { times, clock } = this.#host
    // A platform may show no progress within one message.
    const sendMs = (this.#largestWrite / MIN_BYTES_PER_SECOND) * 1_000
    const maxMs = this.#isOverLimit ? Math.min(times.stallMs + sendMs, times.unreadMs) : times.unreadMs
    const stalledMs = clock.mono() - this.#lastProgressMs
    if (stalledMs <= maxMs) return
    this.#owner.onSlowConsumer(`none of ${unreadBytes} unread bytes was read for ${Math.trunc(stalledMs)} ms`)
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
    this.#host.unreadBudget.report(this.#share, 0, this.#host.clock.mono())
  }
}
