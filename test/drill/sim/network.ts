// The network between clients and gateways. Invariant: the bytes of a connection arrive late and in order, until it breaks;
// a break loses bytes in transit, and each end notices it at its own time or never.

import type { Socket, SocketEvents } from '../../../client/socket.ts'
import type { Connection } from '../../../edge/gateway/connection.ts'
import type { Gateway } from '../../../edge/gateway/gateway.ts'
import type { Random } from '../../support/random.ts'
import type { ProcessLifetime } from './lifetime.ts'
import type { Trace } from './trace.ts'
import type { VirtualClock } from './virtualclock.ts'

/** A process that accepts connections. */
export interface GatewayHost {
  readonly lifetime: ProcessLifetime
  readonly gateway: Gateway
}

export interface SimConnectionOptions {
  readonly client: string
  readonly kind: 'tcp' | 'ws'
  readonly clock: VirtualClock
  readonly random: Random
  readonly trace: Trace
  /** The host when the client arrives; null = no process listens. */
  readonly host: () => GatewayHost | null
}

const LATENCY_MS = 3
/** Time until an end notices a break, or the long time of a half-open connection. */
const NOTICE_MS = 20
const HALF_OPEN_MS = 8_000
const HALF_OPEN = 0.25
/** Share of the breaks that the client never notices. */
const UNNOTICED = 0.2
const MAX_CHUNKS = 3

export class SimConnection implements Socket {
  readonly #options: SimConnectionOptions
  readonly #events: SocketEvents
  #connection: Connection | null = null
  /** That end sends and receives nothing more. */
  #isClientClosed = false
  #isServerClosed = false
  /** Bytes in transit are lost. */
  #losesUp = false
  #losesDown = false
  #upMs = 0
  #downMs = 0

  constructor(options: SimConnectionOptions, events: SocketEvents) {
    this.#options = options
    this.#events = events
    this.#up(() => this.#arrive())
  }

  send(bytes: Uint8Array): void {
    if (this.#isClientClosed) return
    const { kind, trace, client } = this.#options
    for (const chunk of kind === 'tcp' ? this.#chunks(bytes) : [bytes.slice()]) {
      this.#up(() => {
        trace.bytes(`${client} >`, chunk)
        this.#connection?.receive(chunk)
      })
    }
  }

  close(leave = false): void {
    if (this.#isClientClosed) return
    this.#up(() => this.#connection?.onTransportClosed(leave))
    this.#isClientClosed = true
  }

  breakConnection(): void {
    const { random, clock } = this.#options
    if (this.#isClientClosed) return
    this.#losesUp = random.chance(0.5)
    this.#losesDown = random.chance(0.5)
    this.#isServerClosed = true
    const connection = this.#connection
    const serverMs = random.chance(HALF_OPEN) ? random.next() * HALF_OPEN_MS : random.next() * NOTICE_MS
    clock.after(serverMs, () => connection?.onTransportClosed())
    this.#notifyClient('the connection broke')
  }

  #arrive(): void {
    const { host, kind, client, random, clock, trace } = this.#options
    const listening = host()
    if (!listening) return void clock.after((1 + random.next()) * LATENCY_MS, () => this.#close('no process listens'))
    const { lifetime, gateway } = listening
    lifetime.onEnd(() => this.#hostEnded())
    const end = (reason: string): void => {
      if (this.#isServerClosed || lifetime.isOver) return
      this.#down(() => this.#close(reason))
      this.#isServerClosed = true
    }
    this.#down(() => this.#events.opened())
    this.#connection = gateway.accept({
      kind,
      remote: client,
      address: '',
      bufferedBytes: 0,
      write: (bytes) => {
        if (this.#isServerClosed || lifetime.isOver) return
        const copy = bytes.slice()
        this.#down(() => {
          trace.bytes(`${client} <`, copy)
          this.#events.message(copy)
        })
      },
      close: (_code, reason) => end(reason),
      abort: (_code, reason) => end(reason),
    })
  }

  /** The process has ended. Its machine notifies the client, or has ended too. */
  #hostEnded(): void {
    if (this.#isServerClosed) return
    this.#isServerClosed = true
    this.#connection = null
    this.#losesDown = this.#options.random.chance(0.3)
    this.#notifyClient('the host ended')
  }

  #notifyClient(reason: string): void {
    const { random, clock } = this.#options
    if (random.chance(UNNOTICED)) return
    // After the bytes that still arrive.
    clock.after(random.next() * NOTICE_MS + LATENCY_MS, () => this.#close(reason))
  }

  #close(reason: string): void {
    if (this.#isClientClosed) return
    this.#isClientClosed = true
    this.#options.trace.add(`${this.#options.client} x`, reason)
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
      if (!this.#losesUp) run()
    })
  }

  #down(run: () => void): void {
    const { clock, random } = this.#options
    this.#downMs = Math.max(this.#downMs, clock.mono() + random.next() * LATENCY_MS)
    clock.after(this.#downMs - clock.mono(), () => {
      if (!this.#losesDown && !this.#isClientClosed) run()
    })
  }
}
