// What one connection writes: frames, gathered until the event in hand is done, behind what belongs before them. A peer
// that reads too slowly is first spared its events, which then wait beside their shards, and in the end let go.

import type { Gateway, Transport } from './gateway.ts'
import { Outbox } from './outbox.ts'

/** The connection that it writes for. */
export interface OutflowOwner {
  readonly gateway: Gateway
  readonly transport: Transport
  /** Events had better wait, until (false) the peer has read. */
  hold(on: boolean): void
  /** The peer reads too slowly to be kept. */
  stuck(message: string): void
  /** A bug of ours. */
  failed(error: unknown): void
}

export class Outflow {
  readonly #owner: OutflowOwner
  readonly #outbox: Outbox
  /** The event in hand flushes when it is done. */
  gathers = false
  #dirty = false
  /** Something must be written first. */
  #corked = 0
  /** Its events wait; how much was not read, when last looked, and when that last became less. */
  #held = false
  #unreadBytes = 0
  #readMs = 0
  #over = false

  constructor(owner: OutflowOwner) {
    const { slab, identityBytes } = owner.gateway
    this.#owner = owner
    this.#outbox = new Outbox(slab, identityBytes)
  }

  frame(command: number, body: Uint8Array): void {
    if (this.#over) return
    this.#outbox.frame(command, body)
    this.#wrote()
  }

  message(command: number, first: number, second: number, third: number | null, body: Uint8Array): void {
    if (this.#over) return
    this.#outbox.message(command, first, second, third, body)
    this.#wrote()
  }

  /** A frame that many connections are given, encoded once. */
  shared(command: number, body: Uint8Array): void {
    if (this.#over) return
    this.#outbox.shared(this.#owner.gateway.sharedFrame(command, body))
    this.#wrote()
  }

  /** Nothing more is written until `first` has put in what belongs before it. */
  awaitFirst(first: Promise<void>): void {
    this.#corked++
    const uncork = (): void => {
      this.#corked--
      this.flush()
    }
    first.then(uncork, (error: unknown) => {
      uncork()
      this.#owner.failed(error)
    })
  }

  #wrote(): void {
    const { gateway } = this.#owner
    // A burst that is larger than what may wait shows at once whether its reader keeps up.
    if (this.#outbox.bytes > gateway.limits.maxUnreadBytes) this.flush()
    if (this.#dirty || this.gathers) return
    this.#dirty = true
    gateway.flushSoon(this)
  }

  /** So much waits for its reader that events had better wait elsewhere. */
  get congested(): boolean {
    const { gateway, transport } = this.#owner
    return this.#outbox.bytes + transport.bufferedBytes > gateway.limits.maxUnreadBytes
  }

  /** Gives the socket what is ready. */
  flush(): void {
    this.#dirty = false
    if (this.#over || this.#corked > 0) return
    const bytes = this.#outbox.take()
    if (bytes === null) return
    const { gateway, transport } = this.#owner
    const { meter, limits, clock } = gateway
    meter.bytesOut += bytes.length
    transport.write(bytes)
    const { bufferedBytes } = transport
    if (bufferedBytes > limits.maxOutboundBytes) {
      this.#owner.stuck(`${bufferedBytes} unread bytes exceed ${limits.maxOutboundBytes}`)
    } else if (bufferedBytes > limits.maxUnreadBytes && !this.#held) {
      this.#held = true
      this.#unreadBytes = bufferedBytes
      this.#readMs = Math.trunc(clock.mono())
      meter.holds++
      this.#owner.hold(true)
      gateway.watch(this)
    }
  }

  /** @internal Whether it is still read too slowly; asked now and then. */
  stillHeld(): boolean {
    if (this.#over) return false
    const { limits, clock, times } = this.#owner.gateway
    const unread = this.#owner.transport.bufferedBytes
    if (unread < this.#unreadBytes) this.#readMs = Math.trunc(clock.mono())
    this.#unreadBytes = unread
    if (unread > limits.maxUnreadBytes / 2) {
      const stuckMs = clock.mono() - this.#readMs
      if (stuckMs > times.unreadMs) this.#owner.stuck(`nothing of ${unread} bytes was read for ${stuckMs} ms`)
      return !this.#over
    }
    this.#owner.hold(false)
    this.flush()
    this.#held = this.congested
    if (this.#held) this.#owner.hold(true)
    return this.#held
  }

  /** Writes what there is, whatever belongs before it: it is the last. */
  finish(): void {
    this.#corked = 0
    this.flush()
    this.end()
  }

  /** Nothing is written any more. */
  end(): void {
    this.#over = true
  }
}
