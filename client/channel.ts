// One channel of the client: calls in sequence, their answers, the shard's events. Invariant: a durable call stays
// here until its effect is acknowledged, under the same sequence, however many connections it takes.

import type { Codec } from '../core/wire/codec.ts'
import {
  entryCodec,
  type AnyCommand,
  type Args,
  type CommandNames,
  type Contract,
  type DataOf,
  type Entries,
  type EventNames,
  type InputOf,
  type OutputOf,
  type Parser,
} from '../core/wire/contract.ts'
import { CallError, InputError, Refusal, type SystemCode } from '../core/wire/errors.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import {
  CALL_BYTES,
  encodeAck,
  encodeCall,
  encodeClose,
  encodeOpen,
  MESSAGE,
  type ErrorMessage,
  type Opened,
} from '../core/wire/message.ts'
import type { ClientClock } from './socket.ts'

/** The shard as the game sees it: a method per command, and its events. */
export type Remote<E extends Entries> = {
  readonly [K in CommandNames<E>]: (
    ...input: Args<InputOf<E[K]>>
  ) => [OutputOf<E[K]>] extends [void] ? void : Promise<OutputOf<E[K]>>
} & RemoteEvents<E>

export interface RemoteEvents<E extends Entries> {
  /**
   * Calls `listener` for every such event; the returned function stops it. Listen before the call that joins: events
   * may arrive together with its reply, and are told before an `await` goes on.
   */
  on<K extends EventNames<E>>(name: K, listener: (data: DataOf<E[K]>) => void): () => void
  /** The shard lives anew: its volatile state, and this session's membership if the server lost it, are gone. */
  onRestart(listener: () => void): () => void
  /** The server refused or ended the channel; calls fail from here on. */
  onClose(listener: (code: string) => void): () => void
  /** Leaves the shard for good. */
  close(): void
}

/** What a channel needs of its client. */
export interface Carrier {
  readonly clock: ClientClock
  readonly timeoutMs: number
  /** What the server takes as a frame's body. */
  maxBodyBytes(): number
  /** Sends a session message now, or drops it while there is no connection. */
  send(command: number, body: Uint8Array): void
  forget(channel: number): void
}

interface Pending {
  readonly sequence: number
  readonly command: AnyCommand
  readonly codec: Codec
  readonly body: Uint8Array
  readonly name: string
  readonly timer: { cancel(): void } | null
  /** null for a durable cast. */
  readonly settle: { resolve(value: unknown): void; reject(error: Error): void } | null
}

/** Calls that wait for their answer; more are refused at once. */
const MAX_PENDING = 256
/** From the oldest unanswered call to the newest, casts included; the server closes beyond it (WINDOW). */
const WINDOW = DEFAULT_LIMITS.maxUnackedReplies
/** Answers are acknowledged with the next call, or alone after so many, or so many bytes of them. */
const ACK_EVERY = 16
const ACK_BYTES = 65_536

export class ClientChannel {
  readonly number: number
  readonly contract: Contract
  readonly key: string
  readonly remote: object
  readonly #carrier: Carrier
  readonly #pending = new Map<number, Pending>()
  readonly #events = new Map<
    number,
    { readonly name: string; readonly codec: Codec; readonly data: Parser<unknown> }
  >()
  readonly #listeners = new Map<string, Set<(data: never) => void>>()
  #sequence = 0
  /** Every answer up to here has arrived. */
  #answered = 0
  #acked = 0
  /** Bytes of replies since the last acknowledgement. */
  #unackedBytes = 0
  #eventSequence = 0
  #activation = 0
  /** The last OPENED on this connection. */
  #opening = 0
  /** Calls may be sent: the channel is open, and what is older has been sent again. */
  #ready = false
  #closed: string | null = null

  constructor(carrier: Carrier, number: number, contract: Contract, key: string) {
    this.#carrier = carrier
    this.number = number
    this.contract = contract
    this.key = key
    const remote: Record<string, unknown> = {
      on: (name: string, listener: (data: never) => void) => this.#listen(`event ${name}`, listener),
      onRestart: (listener: () => void) => this.#listen('restart', listener),
      onClose: (listener: (code: never) => void) => this.#listen('close', listener),
      close: () => this.close(),
    }
    for (const [name, entry] of Object.entries(contract.entries)) {
      const codec = entryCodec(contract, entry)
      if (entry.kind === 'event') this.#events.set(entry.number, { name, codec, data: entry.data })
      else remote[name] = (input: unknown = {}) => this.#call(name, entry, codec, input)
    }
    this.remote = remote
  }

  /** A connection stands: opens the channel on it. */
  open(): void {
    if (this.#closed !== null) return
    const { number: channel, key } = this
    const open = {
      channel,
      activation: this.#activation,
      eventAck: this.#eventSequence,
      contract: this.contract.name,
      key,
    }
    this.#carrier.send(MESSAGE.OPEN, encodeOpen(open))
    // A first connection may carry calls at once, behind the OPEN; later ones wait to hear what has survived, so
    // that no call overtakes an older one: its mark would hide it.
    if (this.#activation !== 0) return
    this.#ready = true
    for (const call of this.#pending.values()) this.#send(call)
  }

  disconnected(): void {
    this.#ready = false
    this.#opening = 0
  }

  opened(opened: Opened): void {
    const before = this.#activation
    const restarted = before !== 0 && before !== opened.activation
    this.#activation = opened.activation
    this.#opening = opened.opening
    if (restarted) this.#eventSequence = 0
    const again = opened.lost || !this.#ready
    this.#ready = true
    for (const call of [...this.#pending.values()]) {
      const gone = opened.lost && call.sequence > opened.mark
      const { durable, resend } = call.command.options
      if (gone && !durable && !resend) {
        this.#fail(
          call,
          new CallError('SHARD_RESTARTED', `${call.name}: the shard was restarted, the call may be lost`),
        )
      } else if (again) this.#send(call)
    }
    this.applied(opened.mark)
    if (restarted) this.#tell('restart', undefined)
  }

  reply(sequence: number, body: Uint8Array): void {
    const call = this.#pending.get(sequence)
    if (!call) return
    let value: unknown
    try {
      value = call.command.output ? call.command.output(call.codec.decode(body)) : undefined
    } catch (cause) {
      return this.#fail(
        call,
        new CallError('BAD_INPUT', `${call.name}: the reply breaks the contract`, { cause }),
      )
    }
    this.#unackedBytes += body.length
    this.#take(call)
    call.settle?.resolve(value)
  }

  error(error: ErrorMessage): void {
    if (error.sequence === 0) return this.end(error.code)
    const call = this.#pending.get(error.sequence)
    if (!call) return
    const message = `${call.name}: ${error.message}`
    this.#fail(
      call,
      error.kind === 'refusal'
        ? new Refusal(error.code, message)
        : new CallError(error.code as SystemCode, message),
    )
  }

  event(sequence: number, number: number, body: Uint8Array): void {
    this.#eventSequence = sequence
    const event = this.#events.get(number)
    if (!event || !this.#listeners.has(`event ${event.name}`)) return
    let data: unknown
    try {
      data = event.data(event.codec.decode(body))
    } catch {
      return // A server with a newer contract; an event is no promise.
    }
    this.#tell(`event ${event.name}`, data as never)
  }

  /** Every call up to the mark has taken effect: durable casts need no more care. */
  applied(mark: number): void {
    for (const call of this.#pending.values()) {
      if (call.sequence > mark) break
      if (!call.settle) this.#take(call)
    }
  }

  /** The channel is over: by the server (`code`) or by us. */
  end(code: string): void {
    if (this.#closed !== null) return
    this.#closed = code
    for (const call of [...this.#pending.values()]) this.#fail(call, closedError(call.name, code))
    this.#tell('close', code as never)
    this.#carrier.forget(this.number)
  }

  close(): void {
    if (this.#closed === null) this.#carrier.send(MESSAGE.CLOSE, closeBody(this.number))
    this.end('CLOSED')
  }

  #call(entryName: string, command: AnyCommand, codec: Codec, input: unknown): Promise<unknown> | undefined {
    const name = `${this.contract.name}.${entryName}`
    if (!command.output) {
      const body = this.#body(name, command, codec, input)
      if (this.#closed !== null) return undefined
      // A volatile cast of a moment without connection would be a lie later: it is dropped.
      if (!command.options.durable && (!this.#ready || this.#full)) return undefined
      if (this.#full) throw this.#overloaded(name)
      const call: Pending = {
        sequence: ++this.#sequence,
        command,
        codec,
        body,
        name,
        timer: null,
        settle: null,
      }
      if (command.options.durable) this.#pending.set(call.sequence, call)
      this.#advance()
      if (this.#ready) this.#send(call)
      return undefined
    }
    return new Promise((resolve, reject) => {
      const body = this.#body(name, command, codec, input)
      if (this.#closed !== null) throw closedError(name, this.#closed)
      if (this.#full) throw this.#overloaded(name)
      const sequence = ++this.#sequence
      const timer = this.#carrier.clock.after(this.#carrier.timeoutMs, () => {
        const call = this.#pending.get(sequence)
        if (call)
          this.#fail(
            call,
            new CallError('DEADLINE', `${name}: no answer within ${this.#carrier.timeoutMs} ms`),
          )
      })
      const call: Pending = { sequence, command, codec, body, name, timer, settle: { resolve, reject } }
      this.#pending.set(sequence, call)
      if (this.#ready) this.#send(call)
    })
  }

  /** The body of a call, of a size that the server takes: a larger one would end the connection. */
  #body(name: string, command: AnyCommand, codec: Codec, input: unknown): Uint8Array {
    const body = codec.encode(command.input(input))
    const most = this.#carrier.maxBodyBytes() - CALL_BYTES
    if (body.length > most) throw new InputError(`${name}: body ${body.length} bytes exceeds ${most}`)
    return body
  }

  get #full(): boolean {
    return this.#pending.size >= MAX_PENDING || this.#sequence - this.#answered >= WINDOW
  }

  #overloaded(name: string): CallError {
    return new CallError('OVERLOADED', `${name}: ${this.#pending.size} calls of this channel wait already`)
  }

  #send(call: Pending): void {
    this.#acked = this.#answered
    this.#unackedBytes = 0
    const { number: channel } = this
    const { sequence, command } = call
    const header = {
      channel,
      opening: this.#opening,
      sequence,
      replyAck: this.#answered,
      command: command.number,
    }
    this.#carrier.send(MESSAGE.CALL, encodeCall(header, call.body))
  }

  #fail(call: Pending, error: Error): void {
    this.#take(call)
    call.settle?.reject(error)
  }

  #take(call: Pending): void {
    call.timer?.cancel()
    this.#pending.delete(call.sequence)
    this.#advance()
    const many = this.#answered - this.#acked >= ACK_EVERY || this.#unackedBytes >= ACK_BYTES
    if (this.#ready && many && this.#answered > this.#acked) {
      this.#acked = this.#answered
      this.#unackedBytes = 0
      const ack = { channel: this.number, calls: this.#answered, events: this.#eventSequence }
      this.#carrier.send(MESSAGE.ACK, encodeAck(ack))
    }
  }

  /** The acknowledgement reaches up to the oldest call that still waits. */
  #advance(): void {
    const [oldest] = this.#pending.keys()
    this.#answered = oldest === undefined ? this.#sequence : oldest - 1
  }

  #listen(what: string, listener: (data: never) => void): () => void {
    const set = this.#listeners.get(what) ?? new Set()
    this.#listeners.set(what, set.add(listener))
    return () => void set.delete(listener)
  }

  #tell(what: string, data: never | undefined): void {
    for (const listener of this.#listeners.get(what) ?? []) listener(data as never)
  }
}

function closedError(name: string, code: string): CallError {
  return new CallError('CLOSED', `${name}: the channel is closed (${code})`)
}

function closeBody(channel: number): Uint8Array {
  return encodeClose({ channel, code: 'CLOSED' })
}
