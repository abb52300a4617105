// The calls of one channel, in sequence. Invariant: a call that was sent is never forgotten before its answer, its mark
// or its deadline, and keeps its sequence for as long as its session lives; one that was never sent cannot have run.

import type { Codec } from '../core/wire/codec.ts'
import type { AnyCommand } from '../core/wire/contract.ts'
import { CallError, InputError, Refusal, type SystemCode } from '../core/wire/errors.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import { CALL_BYTES, encodeAck, encodeCall, MESSAGE, type ErrorMessage } from '../core/wire/message.ts'
import type { EventDeduplicator } from './deduplicator.ts'
import type { Measure } from './metric.ts'
import type { ClientClock } from './socket.ts'

/** What calls need of their session. */
export interface CallTransport {
  readonly clock: ClientClock
  readonly timeoutMs: number
  readonly measure: Measure
  /** What the server takes as a frame's body. */
  maxBodyBytes(): number
  /** Sends a session message now, or drops it while there is no connection. */
  send(command: number, body: Uint8Array): void
}

/** A command of the contract, ready to be called. */
export interface ClientCommand {
  readonly name: string
  readonly command: AnyCommand
  readonly codec: Codec
}

interface PendingCall {
  sequence: number
  /** It may have reached the server. */
  wasSent: boolean
  readonly entry: ClientCommand
  readonly body: Uint8Array
  readonly startedMs: number
  timer: { cancel(): void } | null
  /** null for a cast. */
  readonly settle: { resolve(value: unknown): void; reject(error: Error): void } | null
}

/** Calls that wait for their answer; more are refused at once. */
const MAX_PENDING = 256
/** From the oldest unanswered call to the newest, casts included; the server closes beyond it (WINDOW). */
const CALL_WINDOW = DEFAULT_LIMITS.maxUnackedReplies
/** Answers are acknowledged with the next call, or alone after so many, or so many bytes of them. */
const ACK_EVERY = 16
const ACK_BYTES = 65_536

export class ClientCalls {
  readonly #transport: CallTransport
  readonly #channel: number
  readonly #contract: string
  readonly #deduplicator: EventDeduplicator
  readonly #pending = new Map<number, PendingCall>()
  #sequence = 0
  /** Every answer up to here has arrived. */
  #answeredUpTo = 0
  #ackedUpTo = 0
  /** Bytes of replies since the last acknowledgement. */
  #unackedBytes = 0
  /** The last OPENED on this connection. */
  #opening = 0
  /** Calls may be sent: the channel is open, and what is older has been sent again. */
  #isSending = false
  #closeCode: string | null = null

  constructor(transport: CallTransport, channel: number, contract: string, deduplicator: EventDeduplicator) {
    this.#transport = transport
    this.#channel = channel
    this.#contract = contract
    this.#deduplicator = deduplicator
  }

  /** The channel was opened for the first time: calls travel right behind its OPEN. */
  startSending(): void {
    this.#isSending = true
    for (const call of [...this.#pending.values()]) this.#send(call)
  }

  /** The connection is gone. */
  connectionLost(): void {
    this.#isSending = false
    this.#opening = 0
  }

  /** The shard has said what survived: what died with it fails, the rest is sent again unless it is on its way. */
  channelOpened(opening: number, mark: number, lost: boolean): void {
    const mustResend = lost || !this.#isSending
    this.#opening = opening
    this.#isSending = true
    for (const call of [...this.#pending.values()]) {
      const { durable, resend } = call.entry.command.options
      if (lost && call.wasSent && call.sequence > mark && !durable && !resend)
        this.#fail(call, 'SHARD_RESTARTED', 'the shard was restarted, the call may be lost')
      else if (mustResend) this.#send(call)
    }
    this.markReceived(mark)
  }

  /** The session is gone, the next one begins at sequence 1. What was sent in the old one has an unknown outcome. */
  sessionReplaced(): void {
    for (const call of [...this.#pending.values()]) {
      const { durable, resend } = call.entry.command.options
      if (!call.wasSent || resend) continue
      if (durable) this.#fail(call, 'DEADLINE', 'the session is gone, the outcome is unknown')
      else this.#fail(call, 'SHARD_RESTARTED', 'the session is gone, the call may be lost')
    }
    const remaining = [...this.#pending.values()]
    this.#pending.clear()
    this.#sequence = this.#answeredUpTo = this.#ackedUpTo = this.#unackedBytes = 0
    for (const call of remaining) {
      call.sequence = ++this.#sequence
      call.wasSent = false
      this.#pending.set(call.sequence, call)
    }
  }

  replyReceived(sequence: number, body: Uint8Array): void {
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
    this.#finishCall(call, 'ok')
    call.settle?.resolve(value)
  }

  errorReceived({ sequence, kind, code, message }: ErrorMessage): void {
    const call = this.#pending.get(sequence)
    if (!call) return
    if (kind !== 'refusal') return this.#fail(call, code as SystemCode, message)
    this.#finishCall(call, code)
    call.settle?.reject(new Refusal(code, this.#message(call.entry, message)))
  }

  /** Every call up to the mark has taken effect: durable casts need no more care. */
  markReceived(mark: number): void {
    for (const call of this.#pending.values()) {
      if (call.sequence > mark) break
      if (!call.settle) this.#finishCall(call, 'ok')
    }
  }

  /** The channel is over; calls fail from here on, casts are nothing. */
  channelClosed(code: string): void {
    this.#isSending = false
    this.#closeCode = code
    for (const call of [...this.#pending.values()]) this.#fail(call, 'CLOSED', closedMessage(code))
  }

  /** Tells the server which answers and events have arrived. */
  sendAck(): void {
    if (!this.#isSending) return
    this.#markAcked()
    this.#deduplicator.markAcknowledged()
    const ack = { channel: this.#channel, calls: this.#answeredUpTo, events: this.#deduplicator.lastSequence }
    this.#transport.send(MESSAGE.ACK, encodeAck(ack))
  }

  /** A command without output. @throws CallError, InputError */
  sendCast(entry: ClientCommand, input: unknown): void {
    const body = this.#encodeBody(entry, input)
    if (this.#closeCode !== null) return
    const { durable = false, offline = durable ? 'keep' : 'drop' } = entry.command.options
    // A cast of a moment without connection would be a lie later, unless its author says otherwise.
    if (offline === 'drop' && (!this.#isSending || this.#isFull)) return
    this.#requireCapacity(entry, offline === 'fail')
    const call = this.#createCall(entry, body, null)
    if (!durable && !this.#isSending) call.timer = this.#startDeadline(call)
    if (durable || !this.#isSending) this.#pending.set(call.sequence, call)
    this.#advanceAnswered()
    if (this.#isSending) this.#send(call)
  }

  /** A command with output. The promise fails with CallError, InputError or Refusal. */
  sendCall(entry: ClientCommand, input: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const body = this.#encodeBody(entry, input)
      if (this.#closeCode !== null) throw this.#callError(entry, 'CLOSED', closedMessage(this.#closeCode))
      const { offline = 'keep' } = entry.command.options
      this.#requireCapacity(entry, offline !== 'keep')
      const call = this.#createCall(entry, body, { resolve, reject })
      call.timer = this.#startDeadline(call)
      this.#pending.set(call.sequence, call)
      if (this.#isSending) this.#send(call)
    })
  }

  #createCall(entry: ClientCommand, body: Uint8Array, settle: PendingCall['settle']): PendingCall {
    const startMs = this.#transport.clock.mono()
    return {
      sequence: ++this.#sequence,
      wasSent: false,
      entry,
      body,
      startedMs: startMs,
      timer: null,
      settle,
    }
  }

  #startDeadline(call: PendingCall): { cancel(): void } {
    const { clock, timeoutMs } = this.#transport
    return clock.after(timeoutMs, () =>
      this.#fail(call, 'DEADLINE', `${call.wasSent ? 'no answer' : 'not sent'} within ${timeoutMs} ms`),
    )
  }

  /** @throws CallError when it can neither be sent nor kept */
  #requireCapacity(entry: ClientCommand, needsConnection: boolean): void {
    if (needsConnection && !this.#isSending)
      throw this.#callError(entry, 'UNAVAILABLE', 'there is no connection at the moment')
    if (this.#isFull)
      throw this.#callError(entry, 'OVERLOADED', `${this.#pending.size} calls of this channel wait already`)
  }

  /** The body of a call, of a size that the server takes: a larger one would end the connection. */
  #encodeBody({ name, command, codec }: ClientCommand, input: unknown): Uint8Array {
    const body = codec.encode(command.input(input))
    const maxBytes = this.#transport.maxBodyBytes() - CALL_BYTES
    if (body.length > maxBytes)
      throw new InputError(`${this.#contract}.${name}: body ${body.length} bytes exceeds ${maxBytes}`)
    return body
  }

  get #isFull(): boolean {
    return this.#pending.size >= MAX_PENDING || this.#sequence - this.#answeredUpTo >= CALL_WINDOW
  }

  #send(call: PendingCall): void {
    this.#markAcked()
    call.wasSent = true
    const { command } = call.entry
    const header = {
      channel: this.#channel,
      opening: this.#opening,
      sequence: call.sequence,
      replyAck: this.#answeredUpTo,
      command: command.number,
    }
    this.#transport.send(MESSAGE.CALL, encodeCall(header, call.body))
    if (call.settle || command.options.durable || !this.#pending.has(call.sequence)) return
    // A volatile cast that was kept for this moment: nothing answers it.
    call.timer?.cancel()
    this.#pending.delete(call.sequence)
    this.#advanceAnswered()
  }

  #fail(call: PendingCall, code: SystemCode, why: string, options?: ErrorOptions): void {
    this.#finishCall(call, code)
    call.settle?.reject(this.#callError(call.entry, code, why, options))
  }

  #callError(entry: ClientCommand, code: SystemCode, why: string, options?: ErrorOptions): CallError {
    return new CallError(code, this.#message(entry, why), options)
  }

  #message(entry: ClientCommand, why: string): string {
    return `${this.#contract}.${entry.name}: ${why}`
  }

  #finishCall(call: PendingCall, outcome: string): void {
    call.timer?.cancel()
    this.#pending.delete(call.sequence)
    this.#advanceAnswered()
    const ms = this.#transport.clock.mono() - call.startedMs
    const { name: command } = call.entry
    this.#transport.measure({ name: 'call', contract: this.#contract, command, ms, outcome })
    const isAckDue = this.#answeredUpTo - this.#ackedUpTo >= ACK_EVERY || this.#unackedBytes >= ACK_BYTES
    if (isAckDue && this.#answeredUpTo > this.#ackedUpTo) this.sendAck()
  }

  /** What leaves now carries the acknowledgement of all answers. */
  #markAcked(): void {
    this.#ackedUpTo = this.#answeredUpTo
    this.#unackedBytes = 0
  }

  /** The acknowledgement reaches up to the oldest call that still waits. */
  #advanceAnswered(): void {
    const [oldest] = this.#pending.keys()
    this.#answeredUpTo = oldest === undefined ? this.#sequence : oldest - 1
  }
}

function closedMessage(code: string): string {
  return `the channel is closed (${code})`
}
