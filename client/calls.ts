// The calls of one channel, in sequence. Invariant: a call that was sent is never forgotten before its answer, its mark
// or its deadline, and keeps its sequence for as long as its session lives; one that was never sent cannot have run.

import type { Codec } from '../core/wire/codec.ts'
import type { AnyCommand } from '../core/wire/contract.ts'
import { CallError, InputError, Refusal, type SystemCode } from '../core/wire/errors.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import { CALL_BYTES, encodeAck, encodeCall, MESSAGE, type ErrorMessage } from '../core/wire/message.ts'
import type { Arrivals } from './arrivals.ts'
import type { Measure } from './metric.ts'
import type { ClientClock } from './socket.ts'

/** What calls need of their session. */
export interface Sender {
  readonly clock: ClientClock
  readonly timeoutMs: number
  readonly measure: Measure
  /** What the server takes as a frame's body. */
  maxBodyBytes(): number
  /** Sends a session message now, or drops it while there is no connection. */
  send(command: number, body: Uint8Array): void
}

/** A command of the contract, ready to be called. */
export interface Entry {
  readonly name: string
  readonly command: AnyCommand
  readonly codec: Codec
}

interface Pending {
  sequence: number
  /** It may have reached the server. */
  sent: boolean
  readonly entry: Entry
  readonly body: Uint8Array
  readonly startMs: number
  timer: { cancel(): void } | null
  /** null for a cast. */
  readonly settle: { resolve(value: unknown): void; reject(error: Error): void } | null
}

/** Calls that wait for their answer; more are refused at once. */
const MAX_PENDING = 256
/** From the oldest unanswered call to the newest, casts included; the server closes beyond it (WINDOW). */
const WINDOW = DEFAULT_LIMITS.maxUnackedReplies
/** Answers are acknowledged with the next call, or alone after so many, or so many bytes of them. */
const ACK_EVERY = 16
const ACK_BYTES = 65_536

export class Calls {
  readonly #sender: Sender
  readonly #channel: number
  readonly #contract: string
  readonly #arrivals: Arrivals
  readonly #pending = new Map<number, Pending>()
  #sequence = 0
  /** Every answer up to here has arrived. */
  #answered = 0
  #acked = 0
  /** Bytes of replies since the last acknowledgement. */
  #unackedBytes = 0
  /** The last OPENED on this connection. */
  #opening = 0
  /** Calls may be sent: the channel is open, and what is older has been sent again. */
  #ready = false
  #closed: string | null = null

  constructor(sender: Sender, channel: number, contract: string, arrivals: Arrivals) {
    this.#sender = sender
    this.#channel = channel
    this.#contract = contract
    this.#arrivals = arrivals
  }

  /** The channel was opened for the first time: calls travel right behind its OPEN. */
  start(): void {
    this.#ready = true
    for (const call of [...this.#pending.values()]) this.#send(call)
  }

  /** The connection is gone. */
  stop(): void {
    this.#ready = false
    this.#opening = 0
  }

  /** The shard has said what survived: what died with it fails, the rest is sent again unless it is on its way. */
  opened(opening: number, mark: number, lost: boolean): void {
    const again = lost || !this.#ready
    this.#opening = opening
    this.#ready = true
    for (const call of [...this.#pending.values()]) {
      const { durable, resend } = call.entry.command.options
      if (lost && call.sent && call.sequence > mark && !durable && !resend)
        this.#fail(call, 'SHARD_RESTARTED', 'the shard was restarted, the call may be lost')
      else if (again) this.#send(call)
    }
    this.applied(mark)
  }

  /** The session is gone, the next one begins at sequence 1. What was sent in the old one has an unknown outcome. */
  renew(): void {
    for (const call of [...this.#pending.values()]) {
      const { durable, resend } = call.entry.command.options
      if (!call.sent || resend) continue
      if (durable) this.#fail(call, 'DEADLINE', 'the session is gone, the outcome is unknown')
      else this.#fail(call, 'SHARD_RESTARTED', 'the session is gone, the call may be lost')
    }
    const kept = [...this.#pending.values()]
    this.#pending.clear()
    this.#sequence = this.#answered = this.#acked = this.#unackedBytes = 0
    for (const call of kept) {
      call.sequence = ++this.#sequence
      call.sent = false
      this.#pending.set(call.sequence, call)
    }
  }

  reply(sequence: number, body: Uint8Array): void {
    const call = this.#pending.get(sequence)
    if (!call) return
    const { command, codec } = call.entry
    let value: unknown
    try {
      value = command.output ? command.output(codec.decode(body)) : undefined
    } catch (cause) {
      return this.#fail(call, 'BAD_INPUT', 'the reply breaks the contract', { cause })
    }
    this.#unackedBytes += body.length
    this.#take(call, 'ok')
    call.settle?.resolve(value)
  }

  error({ sequence, kind, code, message }: ErrorMessage): void {
    const call = this.#pending.get(sequence)
    if (!call) return
    if (kind !== 'refusal') return this.#fail(call, code as SystemCode, message)
    this.#take(call, code)
    call.settle?.reject(new Refusal(code, this.#message(call.entry, message)))
  }

  /** Every call up to the mark has taken effect: durable casts need no more care. */
  applied(mark: number): void {
    for (const call of this.#pending.values()) {
      if (call.sequence > mark) break
      if (!call.settle) this.#take(call, 'ok')
    }
  }

  /** The channel is over; calls fail from here on, casts are nothing. */
  end(code: string): void {
    this.#ready = false
    this.#closed = code
    for (const call of [...this.#pending.values()]) this.#fail(call, 'CLOSED', closed(code))
  }

  /** Tells the server which answers and events have arrived. */
  acknowledge(): void {
    if (!this.#ready) return
    this.#carry()
    this.#arrivals.acknowledged()
    const ack = { channel: this.#channel, calls: this.#answered, events: this.#arrivals.last }
    this.#sender.send(MESSAGE.ACK, encodeAck(ack))
  }

  /** A command without output. @throws CallError, InputError */
  cast(entry: Entry, input: unknown): void {
    const body = this.#body(entry, input)
    if (this.#closed !== null) return
    const { durable = false, offline = durable ? 'keep' : 'drop' } = entry.command.options
    // A cast of a moment without connection would be a lie later, unless its author says otherwise.
    if (offline === 'drop' && (!this.#ready || this.#full)) return
    this.#admit(entry, offline === 'fail')
    const call = this.#begin(entry, body, null)
    if (!durable && !this.#ready) call.timer = this.#deadline(call)
    if (durable || !this.#ready) this.#pending.set(call.sequence, call)
    this.#advance()
    if (this.#ready) this.#send(call)
  }

  /** A command with output. The promise fails with CallError, InputError or Refusal. */
  call(entry: Entry, input: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const body = this.#body(entry, input)
      if (this.#closed !== null) throw this.#failure(entry, 'CLOSED', closed(this.#closed))
      const { offline = 'keep' } = entry.command.options
      this.#admit(entry, offline !== 'keep')
      const call = this.#begin(entry, body, { resolve, reject })
      call.timer = this.#deadline(call)
      this.#pending.set(call.sequence, call)
      if (this.#ready) this.#send(call)
    })
  }

  #begin(entry: Entry, body: Uint8Array, settle: Pending['settle']): Pending {
    const startMs = this.#sender.clock.mono()
    return { sequence: ++this.#sequence, sent: false, entry, body, startMs, timer: null, settle }
  }

  #deadline(call: Pending): { cancel(): void } {
    const { clock, timeoutMs } = this.#sender
    return clock.after(timeoutMs, () =>
      this.#fail(call, 'DEADLINE', `${call.sent ? 'no answer' : 'not sent'} within ${timeoutMs} ms`),
    )
  }

  /** @throws CallError when it can neither be sent nor kept */
  #admit(entry: Entry, now: boolean): void {
    if (now && !this.#ready) throw this.#failure(entry, 'UNAVAILABLE', 'there is no connection at the moment')
    if (this.#full)
      throw this.#failure(entry, 'OVERLOADED', `${this.#pending.size} calls of this channel wait already`)
  }

  /** The body of a call, of a size that the server takes: a larger one would end the connection. */
  #body({ name, command, codec }: Entry, input: unknown): Uint8Array {
    const body = codec.encode(command.input(input))
    const most = this.#sender.maxBodyBytes() - CALL_BYTES
    if (body.length > most)
      throw new InputError(`${this.#contract}.${name}: body ${body.length} bytes exceeds ${most}`)
    return body
  }

  get #full(): boolean {
    return this.#pending.size >= MAX_PENDING || this.#sequence - this.#answered >= WINDOW
  }

  #send(call: Pending): void {
    this.#carry()
    call.sent = true
    const { command } = call.entry
    const header = {
      channel: this.#channel,
      opening: this.#opening,
      sequence: call.sequence,
      replyAck: this.#answered,
      command: command.number,
    }
    this.#sender.send(MESSAGE.CALL, encodeCall(header, call.body))
    if (call.settle || command.options.durable || !this.#pending.has(call.sequence)) return
    // A volatile cast that was kept for this moment: nothing answers it.
    call.timer?.cancel()
    this.#pending.delete(call.sequence)
    this.#advance()
  }

  #fail(call: Pending, code: SystemCode, why: string, options?: ErrorOptions): void {
    this.#take(call, code)
    call.settle?.reject(this.#failure(call.entry, code, why, options))
  }

  #failure(entry: Entry, code: SystemCode, why: string, options?: ErrorOptions): CallError {
    return new CallError(code, this.#message(entry, why), options)
  }

  #message(entry: Entry, why: string): string {
    return `${this.#contract}.${entry.name}: ${why}`
  }

  #take(call: Pending, outcome: string): void {
    call.timer?.cancel()
    this.#pending.delete(call.sequence)
    this.#advance()
    const ms = this.#sender.clock.mono() - call.startMs
    const { name: command } = call.entry
    this.#sender.measure({ name: 'call', contract: this.#contract, command, ms, outcome })
    const many = this.#answered - this.#acked >= ACK_EVERY || this.#unackedBytes >= ACK_BYTES
    if (many && this.#answered > this.#acked) this.acknowledge()
  }

  /** What leaves now carries the acknowledgement of all answers. */
  #carry(): void {
    this.#acked = this.#answered
    this.#unackedBytes = 0
  }

  /** The acknowledgement reaches up to the oldest call that still waits. */
  #advance(): void {
    const [oldest] = this.#pending.keys()
    this.#answered = oldest === undefined ? this.#sequence : oldest - 1
  }
}

function closed(code: string): string {
  return `the channel is closed (${code})`
}
