// Connection attempts, one after the other, until one is welcomed. Invariant: at most one connection at a time, each
// with a deadline to its WELCOME; pauses between them grow, with jitter, so that a thousand clients do not return at once.

import { utf8Encoder } from '../core/wire/bytes.ts'
import { backoffMs } from '../core/wire/backoff.ts'
import { InputError, type ProtocolError } from '../core/wire/errors.ts'
import type { FrameSink } from '../core/wire/frame.ts'
import type { ConnectOptions } from './api.ts'
import { ClientConnection, type ClientConnectionSettings } from './connection.ts'

/** Who speaks on the connections. */
export interface ConnectorEvents {
  /** The next HELLO begins a session, so it may bring a ticket. */
  startsNewSession(): boolean
  /** A connection stands. */
  onConnected(connection: ClientConnection, ticket: Uint8Array): void
  onReceived(): void
  readonly onFrame: FrameSink
  /** The attempt or its connection has failed; another follows, unless `end` is called meanwhile. */
  onFailed(reason: string, error: ProtocolError | null): void
}

const BACKOFF = { minMs: 100, maxMs: 5_000 } as const
/** From the first step of an attempt, the ticket included, to its WELCOME. */
const HANDSHAKE_MS = 10_000
/** A server takes no larger one. */
const MAX_TICKET_BYTES = 4_096

export class Connector {
  readonly #settings: ClientConnectionSettings
  readonly #ticket: NonNullable<ConnectOptions['ticket']>
  readonly #events: ConnectorEvents
  #connection: ClientConnection | null = null
  /** Since the last WELCOME. */
  #failures = 0
  /** Rises with every attempt: what belongs to an older one comes too late. */
  #attempt = 0
  #welcomeTimer: { cancel(): void } | null = null
  #retryTimer: { cancel(): void } | null = null
  #stopped = false

  constructor(settings: ClientConnectionSettings, ticket: ConnectOptions['ticket'], events: ConnectorEvents) {
    this.#settings = settings
    this.#ticket = ticket ?? ''
    this.#events = events
  }

  /** The first attempt. @throws what the platform has against the URL, InputError for a ticket that is too long */
  start(): void {
    this.#startAttempt()
  }

  send(command: number, body: Uint8Array): void {
    this.#connection?.send(command, body)
  }

  /** The server has taken the connection; returns how many attempts failed before. */
  welcomeReceived(): number {
    this.#welcomeTimer?.cancel()
    const failures = this.#failures
    this.#failures = 0
    return failures
  }

  /** Gives up the connection or attempt in hand; the next follows. */
  failAttempt(reason: string, error: ProtocolError | null = null): void {
    if (this.#stopped) return
    this.#attempt++
    this.#welcomeTimer?.cancel()
    this.#connection?.closeConnection(false)
    this.#connection = null
    this.#events.onFailed(reason, error)
    if (this.#isStopped()) return
    const { clock } = this.#settings
    this.#retryTimer = clock.after(backoffMs(this.#failures++, BACKOFF, clock.random()), () =>
      this.#runOrFail(() => this.#startAttempt()),
    )
  }

  /** No further attempt. `leave` = the server may forget the session. */
  stop(endsSession: boolean): void {
    this.#stopped = true
    this.#attempt++
    this.#welcomeTimer?.cancel()
    this.#retryTimer?.cancel()
    this.#connection?.flush()
    this.#connection?.closeConnection(endsSession)
    this.#connection = null
  }

  #isStopped(): boolean {
    return this.#stopped
  }

  #startAttempt(): void {
    const attempt = ++this.#attempt
    const timeoutReason = `no WELCOME within ${HANDSHAKE_MS} ms`
    this.#welcomeTimer = this.#settings.clock.after(HANDSHAKE_MS, () => this.failAttempt(timeoutReason))
    const ticket = this.#events.startsNewSession() ? this.#ticket : ''
    if (typeof ticket === 'string') return this.#dial(ticket)
    const ifCurrent = (run: () => void): void => {
      if (attempt === this.#attempt) run()
    }
    void resolveTicket(ticket).then(
      (text) => ifCurrent(() => this.#runOrFail(() => this.#dial(text))),
      (error: unknown) => ifCurrent(() => this.failAttempt(`no ticket: ${errorText(error)}`)),
    )
  }

  #dial(ticket: string): void {
    const bytes = utf8Encoder.encode(ticket)
    if (bytes.length > MAX_TICKET_BYTES)
      throw new InputError(`ticket of ${bytes.length} bytes exceeds ${MAX_TICKET_BYTES}`)
    const connection = new ClientConnection(this.#settings, {
      onOpen: () => this.#events.onConnected(connection, bytes),
      onReceived: () => this.#events.onReceived(),
      onFrame: this.#events.onFrame,
      onProtocolError: (error) => this.failAttempt(error.message, error),
      onClose: (reason) => this.failAttempt(reason),
    })
    this.#connection = connection
    connection.dial()
  }

  #runOrFail(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.failAttempt(errorText(error))
    }
  }
}

/** A function that throws is one that rejects. */
async function resolveTicket(ticket: () => string | Promise<string>): Promise<string> {
  return ticket()
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
