// Connection attempts, one after the other, until one is welcomed. Invariant: at most one connection at a time, each
// with a deadline to its WELCOME; pauses between them grow, with jitter, so that a thousand clients do not return at once.

import { InputError, type ProtocolError } from '../core/wire/errors.ts'
import type { FrameSink } from '../core/wire/frame.ts'
import type { ConnectOptions } from './face.ts'
import { Line, type Wire } from './line.ts'

/** Who speaks on the connections. */
export interface Speaker {
  /** The next HELLO begins a session, so it may bring a ticket. */
  isNew(): boolean
  /** A connection stands. */
  greet(line: Line, ticket: Uint8Array): void
  heard(): void
  readonly frame: FrameSink
  /** The attempt or its connection has failed; another follows, unless `end` is called meanwhile. */
  failed(reason: string, error: ProtocolError | null): void
}

const BACKOFF_MS = 100
const MAX_BACKOFF_MS = 5_000
/** From the first step of an attempt, the ticket included, to its WELCOME. */
const HANDSHAKE_MS = 10_000
/** A server takes no larger one. */
const MAX_TICKET_BYTES = 4_096
const utf8 = new TextEncoder()

export class Attempts {
  readonly #wire: Wire
  readonly #ticket: NonNullable<ConnectOptions['ticket']>
  readonly #speaker: Speaker
  #line: Line | null = null
  /** Since the last WELCOME. */
  #failures = 0
  /** Rises with every attempt: what belongs to an older one comes too late. */
  #attempt = 0
  #deadline: { cancel(): void } | null = null
  #retry: { cancel(): void } | null = null
  #over = false

  constructor(wire: Wire, ticket: ConnectOptions['ticket'], speaker: Speaker) {
    this.#wire = wire
    this.#ticket = ticket ?? ''
    this.#speaker = speaker
  }

  /** The first attempt. @throws what the platform has against the URL, InputError for a ticket that is too long */
  start(): void {
    this.#begin()
  }

  send(command: number, body: Uint8Array): void {
    this.#line?.send(command, body)
  }

  /** The server has taken the connection; returns how many attempts failed before. */
  welcomed(): number {
    this.#deadline?.cancel()
    const failures = this.#failures
    this.#failures = 0
    return failures
  }

  /** Gives up the connection or attempt in hand; the next follows. */
  fail(reason: string, error: ProtocolError | null = null): void {
    if (this.#over) return
    this.#attempt++
    this.#deadline?.cancel()
    this.#line?.end(false)
    this.#line = null
    this.#speaker.failed(reason, error)
    if (this.#isOver()) return
    const most = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** this.#failures++)
    const { clock } = this.#wire
    this.#retry = clock.after(most * (0.5 + clock.random() / 2), () => this.#try(() => this.#begin()))
  }

  /** No further attempt. `leave` = the server may forget the session. */
  end(leave: boolean): void {
    this.#over = true
    this.#attempt++
    this.#deadline?.cancel()
    this.#retry?.cancel()
    this.#line?.flush()
    this.#line?.end(leave)
    this.#line = null
  }

  #isOver(): boolean {
    return this.#over
  }

  #begin(): void {
    const attempt = ++this.#attempt
    const late = `no WELCOME within ${HANDSHAKE_MS} ms`
    this.#deadline = this.#wire.clock.after(HANDSHAKE_MS, () => this.fail(late))
    const ticket = this.#speaker.isNew() ? this.#ticket : ''
    if (typeof ticket === 'string') return this.#dial(ticket)
    const current = (run: () => void): void => {
      if (attempt === this.#attempt) run()
    }
    void ask(ticket).then(
      (text) => current(() => this.#try(() => this.#dial(text))),
      (error: unknown) => current(() => this.fail(`no ticket: ${text(error)}`)),
    )
  }

  #dial(ticket: string): void {
    const bytes = utf8.encode(ticket)
    if (bytes.length > MAX_TICKET_BYTES)
      throw new InputError(`ticket of ${bytes.length} bytes exceeds ${MAX_TICKET_BYTES}`)
    const line = new Line(this.#wire, {
      opened: () => this.#speaker.greet(line, bytes),
      heard: () => this.#speaker.heard(),
      frame: this.#speaker.frame,
      broken: (error) => this.fail(error.message, error),
      closed: (reason) => this.fail(reason),
    })
    this.#line = line
    line.dial()
  }

  #try(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.fail(text(error))
    }
  }
}

/** A function that throws is one that rejects. */
async function ask(ticket: () => string | Promise<string>): Promise<string> {
  return ticket()
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
