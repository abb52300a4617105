// The inbound side of a connection: cuts bytes into frames, charges their cost, and pauses reading. Invariant: frames reach
// the owner in the order of their bytes, and none while reading is paused; bytes that arrive then are buffered, up to a
// bound. A peer that exceeds its rate is slowed down first and closed when that continues.

import { ProtocolError, type CloseReason } from '../../core/wire/errors.ts'
import { FrameDecoder, type FrameSink } from '../../core/wire/frame.ts'
import type { GatewayContext, Transport } from './context.ts'
import type { ConnectionDeadlines } from './deadlines.ts'
import type { OutboundWriter } from './outboundwriter.ts'
import { FLOOD_DETECTED, TokenBucket } from './tokenbucket.ts'

/** Why reading is paused: a set, as several can apply at once. */
export const PAUSE_REASON = {
  /** Too many calls are pending. */
  pendingCalls: 1,
  /** The connection exceeds its rate limit. */
  rateLimit: 2,
  /** HELLO is not answered yet. */
  handshake: 4,
  /** Too many outbound bytes are unread. */
  unread: 8,
} as const
export type PauseReason = (typeof PAUSE_REASON)[keyof typeof PAUSE_REASON]

/** Bound of the chunks that arrive while reading is paused. */
const MAX_PAUSED_BYTES = 262_144

type ReaderContext = Pick<GatewayContext, 'clock' | 'limits' | 'times' | 'meter' | 'overload' | 'frameIdentityBytes'>

export interface FrameReaderOwner {
  /** False once the connection closes: later frames are ignored. */
  readonly isOpen: boolean
  readonly transport: Transport
  /** Gathers what the frames of a chunk cause. */
  readonly writer: OutboundWriter
  readonly deadlines: ConnectionDeadlines
  /** @throws ProtocolError */
  readonly handleFrame: FrameSink
  /** A ProtocolError is a protocol violation of the peer, any other error a bug. */
  onFrameError(error: unknown): void
  closeConnection(reason: CloseReason, message: string): void
}

export class FrameReader {
  readonly #owner: FrameReaderOwner
  readonly #context: ReaderContext
  readonly #decoder: FrameDecoder
  readonly #bucket: TokenBucket
  /** Chunks that arrived while reading was paused, where the platform cannot stop a socket; null = none. */
  #pausedChunks: Uint8Array[] | null = null
  #pausedBytes = 0
  /** Bits of PAUSE_REASON; 0 = reading. */
  #pauseReasons = 0
  /** The current frame arrived while reading was paused. */
  #isBufferedFrame = false
  /** Cost of the frames of the current chunk. */
  #chunkCost = 0

  constructor(owner: FrameReaderOwner, context: ReaderContext) {
    const { limits, frameIdentityBytes } = context
    this.#owner = owner
    this.#context = context
    this.#bucket = new TokenBucket(limits.maxCostPerSecond, limits.maxBytesPerSecond)
    this.#decoder = new FrameDecoder(frameIdentityBytes, limits.maxBodyBytes, (command, source, start, end) => {
      context.meter.countFrameIn()
      this.#chunkCost++
      owner.handleFrame(command, source, start, end)
    })
  }

  get isPaused(): boolean {
    return this.#pauseReasons !== 0
  }

  /** True while a frame is handled that arrived, as a whole or in part, while reading was paused. */
  get isBufferedFrame(): boolean {
    return this.#isBufferedFrame
  }

  isPausedBy(reason: PauseReason): boolean {
    return (this.#pauseReasons & reason) !== 0
  }

  /** Takes a chunk of the socket, for WebSockets one message. The caller must not change it afterwards. */
  receive(chunk: Uint8Array): void {
    const nowMs = this.#context.clock.mono()
    this.#owner.deadlines.received(nowMs)
    this.#context.overload.chunkReceived(nowMs)
    this.#context.meter.countBytesIn(chunk.length)
    if (!this.isPaused) return this.#decode(chunk)
    this.#pausedChunks ??= []
    this.#pausedChunks.push(chunk)
    this.#addPausedBytes(chunk.length)
  }

  /** Runs frames that were queued, under the rules of received ones: an error closes the connection, costs are charged. */
  runQueuedFrames(run: () => void): void {
    this.#chunkCost = 0
    try {
      run()
    } catch (error) {
      this.#owner.onFrameError(error)
    }
    this.#chargeChunk(0)
  }

  /** Adds to the cost of the current frame. */
  addCost(cost: number): void {
    this.#chunkCost += cost
  }

  /** Stops reading until `resume` is called with the same reason. */
  pause(reason: PauseReason): void {
    if (!this.isPaused) {
      this.#decoder.pause()
      this.#owner.transport.pause?.()
    }
    if (reason === PAUSE_REASON.pendingCalls) this.#context.meter.count('pauses')
    this.#pauseReasons |= reason
  }

  resume(reason: PauseReason): void {
    if (!this.isPausedBy(reason)) return
    this.#pauseReasons &= ~reason
    if (!this.isPaused) this.#context.clock.defer(() => this.#drainPausedChunks())
  }

  /** Drops buffered bytes and ignores all later ones. */
  stop(): void {
    this.#decoder.stop()
    this.#pausedChunks = null
  }

  #decode(chunk: Uint8Array): void {
    const { writer } = this.#owner
    writer.beginBatch()
    this.#chunkCost = 0
    let decodedBytes = 0
    try {
      decodedBytes = this.#decoder.push(chunk)
      this.#afterDecode(chunk, decodedBytes)
    } catch (error) {
      this.#owner.onFrameError(error)
    }
    this.#chargeChunk(decodedBytes)
    writer.endBatch()
  }

  #afterDecode(chunk: Uint8Array, decodedBytes: number): void {
    const { deadlines, transport } = this.#owner
    const { bufferedBytes } = this.#decoder
    if (decodedBytes < chunk.length) {
      this.#pausedChunks ??= []
      this.#pausedChunks.unshift(chunk.subarray(decodedBytes))
      this.#addPausedBytes(chunk.length - decodedBytes)
    } else if (bufferedBytes === 0) deadlines.frameCompleted()
    else if (transport.kind === 'ws')
      throw new ProtocolError('PARTIAL_FRAME', `a message ends ${bufferedBytes} bytes into a frame`)
    else deadlines.frameInProgress(this.#chunkCost > 0)
  }

  #addPausedBytes(bytes: number): void {
    this.#pausedBytes += bytes
    if (this.#pausedBytes <= MAX_PAUSED_BYTES) return
    const isSlowConsumer = this.isPausedBy(PAUSE_REASON.unread)
    this.#owner.closeConnection(
      isSlowConsumer ? 'SLOW_CONSUMER' : this.isPausedBy(PAUSE_REASON.rateLimit) ? 'FLOOD' : 'OVERLOADED',
      `${this.#pausedBytes} bytes received while reading is paused exceed ${MAX_PAUSED_BYTES}`,
    )
  }

  /** Charges a chunk to the rate limit; reading pauses until a debt is paid. */
  #chargeChunk(bytes: number): void {
    const { clock, meter, times } = this.#context
    const waitMs = this.#bucket.throttle(this.#chunkCost, bytes, clock.mono(), times.floodMs)
    if (waitMs === 0 || !this.#owner.isOpen) return
    if (waitMs === FLOOD_DETECTED)
      return this.#owner.closeConnection('FLOOD', `above the rate limit for ${times.floodMs} ms`)
    meter.count('throttles')
    this.pause(PAUSE_REASON.rateLimit)
    clock.after(waitMs, () => this.resume(PAUSE_REASON.rateLimit))
  }

  /** Decodes the buffered chunks; each of them may pause reading again. */
  #drainPausedChunks(): void {
    while (!this.isPaused && this.#owner.isOpen) {
      const chunk = this.#pausedChunks?.shift()
      if (!chunk) {
        this.#pausedChunks = null
        // Idle time starts now: nothing was read during the pause.
        this.#owner.deadlines.received(this.#context.clock.mono())
        return this.#owner.transport.resume?.()
      }
      this.#pausedBytes -= chunk.length
      this.#isBufferedFrame = true
      this.#decode(chunk)
      this.#isBufferedFrame = false
    }
  }
}
