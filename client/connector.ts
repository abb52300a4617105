// Connection attempts, one at a time, until WELCOME arrives. Invariant: at most one connection exists, with a deadline for its
// WELCOME; delays between attempts grow, with jitter, so that many clients do not reconnect at the same time.

import { utf8Encoder } from '../core/wire/bytes.ts'
import { backoffMs } from '../core/wire/backoff.ts'
import { InputError, type ProtocolError } from '../core/wire/errors.ts'
import { TIMES } from '../core/wire/limits.ts'
import type { ConnectOptions } from './api.ts'
import { ClientConnection, type ClientConnectionEvents, type ClientConnectionSettings } from './connection.ts'

export interface ConnectorEvents extends Pick<ClientConnectionEvents, 'onReceived' | 'onFrame'> {
  /** Returns true when the next HELLO starts a session. */
  needsTicket(): boolean
  /** The socket is open: the session sends HELLO. */
  onConnected(connection: ClientConnection, ticket: Uint8Array): void
  /** The attempt or its connection has failed; the next attempt follows, unless `stop` is called. */
  onFailed(reason: string, error: ProtocolError | null): void
}

const BACKOFF = { minMs: 100, maxMs: 5_000 } as const
/** Deadline of an attempt, from requesting the ticket to WELCOME. */
const HANDSHAKE_MS = 10_000
/** The server's limit. */
const MAX_TICKET_BYTES = 4_096

export class Connector {
  readonly #settings: ClientConnectionSettings
  readonly #ticket: NonNullable<ConnectOptions['ticket']>
  readonly #events: ConnectorEvents
  #connection: ClientConnection | null = null
  #state: 'connecting' | 'open' | 'stopped' = 'connecting'
  /** Attempts and connections that failed since the last WELCOME. */
  #failures = 0
  /** Number of the current attempt; results of earlier ones are ignored. */
  #attempt = 0
  #welcomeTimer: { cancel(): void } | null = null
  #retryTimer: { cancel(): void } | null = null
  /** The server asked to wait so long; 0 = it did not. */
  #retryAfterMs = 0

  constructor(settings: ClientConnectionSettings, ticket: ConnectOptions['ticket'], events: ConnectorEvents) {
    this.#settings = settings
    this.#ticket = ticket ?? ''
    this.#events = events
  }

  /** Sends a message after WELCOME; drops it otherwise. */
  send(command: number, body: Uint8Array): void {
    if (this.#state === 'open') this.#connection?.send(command, body)
  }

  /** Returns how many attempts or connections failed since the last WELCOME. */
  welcomeReceived(): number {
    this.#state = 'open'
    this.#welcomeTimer?.cancel()
    const failures = this.#failures
    this.#failures = 0
    return failures
  }

  /** Closes the current connection or attempt, and schedules the next attempt. */
  failAttempt(reason: string, error: ProtocolError | null = null): void {
    if (this.#state === 'stopped') return
    this.#state = 'connecting'
    this.#attempt++
    this.#welcomeTimer?.cancel()
    this.#connection?.closeConnection(false)
    this.#connection = null
    const { clock } = this.#settings
    const overloadedMs = this.#retryAfterMs || (reason.startsWith('OVERLOADED') ? TIMES.retryAfterMs : 0)
    this.#retryAfterMs = 0
    const delayMs = Math.max(
      backoffMs(this.#failures++, BACKOFF, clock.random()),
      overloadedMs === 0 ? 0 : overloadedMs * (1 + clock.random()),
    )
    this.#retryTimer = clock.after(delayMs, () => this.#runOrFail(() => this.startAttempt()))
    this.#events.onFailed(reason, error)
  }

  /** The server closes the connection because it is overloaded: the next attempt waits so long, up to twice by chance. */
  delayNextAttempt(retryAfterMs: number): void {
    this.#retryAfterMs = retryAfterMs
  }

  /** Stops permanently. `endsSession`: the server may discard the session. */
  stop(endsSession: boolean): void {
    this.#connection?.flush()
    this.#state = 'stopped'
    this.#attempt++
    this.#welcomeTimer?.cancel()
    this.#retryTimer?.cancel()
    this.#connection?.closeConnection(endsSession)
    this.#connection = null
  }

  /** @throws (first attempt) the platform's error for the URL, InputError for a ticket that is too long */
  startAttempt(): void {
    const attempt = ++this.#attempt
    const timeoutReason = `no WELCOME within ${HANDSHAKE_MS} ms`
    this.#welcomeTimer = this.#settings.clock.after(HANDSHAKE_MS, () => this.failAttempt(timeoutReason))
    const ticket = this.#events.needsTicket() ? this.#ticket : ''
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

/** Converts a throw to a rejection. */
async function resolveTicket(ticket: () => string | Promise<string>): Promise<string> {
  return ticket()
}

function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
