// The network between clients and gateways: bytes take their time, stay in order, and a connection may break with some
// of them on their way, one end hearing of it long before the other.

import type { Connection } from '../../../edge/gateway/connection.ts'
import type { Gateway } from '../../../edge/gateway/gateway.ts'
import type { Random } from '../../support/random.ts'
import type { VirtualClock } from './clock.ts'
import type { Life } from './life.ts'
import type { Trace } from './trace.ts'

/** A process that takes connections. */
export interface Host {
  readonly life: Life
  readonly gateway: Gateway
}

export interface CableOptions {
  readonly who: string
  readonly kind: 'tcp' | 'ws'
  readonly clock: VirtualClock
  readonly random: Random
  readonly trace: Trace
  /** Who listens when the client arrives; null = nobody. */
  readonly host: () => Host | null
}
export interface CableEvents {
  opened(): void
  message(bytes: Uint8Array): void
  closed(reason: string): void
}

const LATENCY_MS = 3
/** An end that is told of a break is told soon, or much later. */
const SOON_MS = 20
const HALF_OPEN_MS = 8_000
const HALF_OPEN = 0.25
/** Ends whose machine is gone hear nothing at all. */
const SILENT = 0.2
const MAX_CHUNKS = 3

export class Cable {
  readonly #options: CableOptions
  readonly #events: CableEvents
  #connection: Connection | null = null
  /** Nothing more is sent from that end. */
  #clientOver = false
  #serverOver = false
  /** What is on its way does not arrive. */
  #lostUp = false
  #lostDown = false
  #upMs = 0
  #downMs = 0

  constructor(options: CableOptions, events: CableEvents) {
    this.#options = options
    this.#events = events
    this.#up(() => this.#arrive())
  }

  send(bytes: Uint8Array): void {
    if (this.#clientOver) return
    const { kind, trace, who } = this.#options
    for (const chunk of kind === 'tcp' ? this.#chunks(bytes) : [bytes.slice()]) {
      this.#up(() => {
        trace.bytes(`${who} >`, chunk)
        this.#connection?.receive(chunk)
      })
    }
  }

  /** The client is done with it; `leave` = for good, as a WebSocket can say. */
  close(leave = false): void {
    if (this.#clientOver) return
    this.#up(() => this.#connection?.onTransportClosed(leave))
    this.#clientOver = true
  }

  /** It breaks. */
  cut(): void {
    const { random, clock } = this.#options
    if (this.#clientOver) return
    this.#lostUp = random.chance(0.5)
    this.#lostDown = random.chance(0.5)
    this.#serverOver = true
    const connection = this.#connection
    const serverMs = random.chance(HALF_OPEN) ? random.next() * HALF_OPEN_MS : random.next() * SOON_MS
    clock.after(serverMs, () => connection?.onTransportClosed())
    this.#tellClient(random.chance(SILENT) ? null : random.next() * SOON_MS, 'the connection broke')
  }

  #arrive(): void {
    const { host, kind, who, random } = this.#options
    const found = host()
    if (!found) return this.#tellClient(random.next() * LATENCY_MS, 'nobody listens')
    const { life, gateway } = found
    life.onEnd(() => this.#hostEnded())
    const end = (reason: string): void => {
      if (this.#serverOver || life.over) return
      this.#down(() => this.#closed(reason))
      this.#serverOver = true
    }
    this.#down(() => this.#events.opened())
    this.#connection = gateway.accept({
      kind,
      remote: who,
      address: '',
      bufferedBytes: 0,
      write: (bytes) => {
        if (this.#serverOver || life.over) return
        const copy = bytes.slice()
        this.#down(() => {
          this.#options.trace.bytes(`${who} <`, copy)
          this.#events.message(copy)
        })
      },
      close: (_code, reason) => end(reason),
      abort: (_code, reason) => end(reason),
    })
  }

  /** The process is gone; the machine tells the client so, or is gone too. */
  #hostEnded(): void {
    const { random } = this.#options
    if (this.#serverOver) return
    this.#serverOver = true
    this.#connection = null
    this.#lostDown = random.chance(0.3)
    this.#tellClient(random.chance(SILENT) ? null : random.next() * SOON_MS, 'the host is gone')
  }

  #tellClient(afterMs: number | null, reason: string): void {
    // Behind what still arrives.
    if (afterMs !== null) this.#options.clock.after(afterMs + LATENCY_MS, () => this.#closed(reason))
  }

  #closed(reason: string): void {
    if (this.#clientOver) return
    this.#clientOver = true
    this.#options.trace.add(`${this.#options.who} x`, reason)
    this.#events.closed(reason)
  }

  #chunks(bytes: Uint8Array): Uint8Array[] {
    const { random } = this.#options
    const count = 1 + random.below(MAX_CHUNKS)
    if (count === 1 || bytes.length < count) return [bytes.slice()]
    const size = Math.ceil(bytes.length / count)
    return Array.from({ length: count }, (_, i) => bytes.slice(i * size, (i + 1) * size))
  }

  #up(run: () => void): void {
    const { clock, random } = this.#options
    this.#upMs = Math.max(this.#upMs, clock.mono() + random.next() * LATENCY_MS)
    clock.after(this.#upMs - clock.mono(), () => {
      if (!this.#lostUp) run()
    })
  }

  #down(run: () => void): void {
    const { clock, random } = this.#options
    this.#downMs = Math.max(this.#downMs, clock.mono() + random.next() * LATENCY_MS)
    clock.after(this.#downMs - clock.mono(), () => {
      if (!this.#lostDown && !this.#clientOver) run()
    })
  }
}
