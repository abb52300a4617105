// The calls of one channel, in sequence. Invariant: a call that was sent stays pending until its answer, its mark or its
// deadline, under one sequence per session; a call that was never sent has not run.

import type { Codec } from '../core/wire/codec.ts'
import type { AnyCommand } from '../core/wire/contract.ts'
import {
  CallError,
  contractViolation,
  InputError,
  Refusal,
  SYSTEM_CODES,
  type CallErrorOptions,
  type SystemCode,
} from '../core/wire/errors.ts'
import { DEFAULT_LIMITS } from '../core/wire/limits.ts'
import { CALL_BYTES, encodeAck, encodeCall, MESSAGE, type ErrorMessage } from '../core/wire/message.ts'
import type { EventDeduplicator } from './deduplicator.ts'
import type { Measure } from './listeners.ts'
import type { ClientClock } from './socket.ts'
import { CallThrottle } from './throttle.ts'

export interface CallTransport {
  readonly clock: ClientClock
  readonly timeoutMs: number
  readonly measure: Measure
  /** The server's limit for a frame's body. */
  maxBodyBytes(): number
  /** Sends a session message, or drops it without connection. */
  send(command: number, body: Uint8Array): void
}

export interface ClientCommand {
  readonly name: string
  readonly command: AnyCommand
  readonly codec: Codec
}

interface PendingCall {
  sequence: number
  /** The server may have received it. */
  wasSent: boolean
  readonly entry: ClientCommand
  readonly body: Uint8Array
  readonly startedMs: number
  timer: { cancel(): void } | null
  /** null for a cast. */
  readonly settle: { resolve(value: unknown): void; reject(error: Error): void } | null
}

/** Pending calls; beyond it a call is rejected. */
const MAX_PENDING = 256
/** Sequences from the oldest unanswered call to the newest, casts included; beyond it the server closes (WINDOW). */
const CALL_WINDOW = DEFAULT_LIMITS.maxUnackedReplies
/** The next call acknowledges answers; after this many answers or bytes a separate ACK does. */
const ACK_EVERY = 16
const ACK_BYTES = 65_536

export class ClientCalls {
  readonly #transport: CallTransport
  #channel: number
  readonly #contract: string
  readonly #deduplicator: EventDeduplicator
  readonly #pending = new Map<number, PendingCall>()
  #sequence = 0
  /** All answers up to this sequence have arrived. */
  #answeredUpTo = 0
  #ackedUpTo = 0
  /** Bytes of replies since the last acknowledgement. */
  #unackedBytes = 0
  /** Number of the last OPENED on this connection; 0 = none yet. */
  #opening = 0
  /** The channel is open and older calls were resent, so calls are sent immediately. */
  #isSending = false
  #closeCode: string | null = null
  readonly #throttle: CallThrottle
  /** Set while durable casts wait because the server refused one: they stay in order. */
  #castTimer: { cancel(): void } | null = null

  constructor(transport: CallTransport, channel: number, contract: string, deduplicator: EventDeduplicator) {
    this.#transport = transport
    this.#throttle = new CallThrottle(transport.clock)
    this.#channel = channel
    this.#contract = contract
    this.#deduplicator = deduplicator
  }

  /** Called after the first OPEN of the channel: calls follow it immediately. */
  startSending(): void {
    this.#isSending = true
    for (const call of [...this.#pending.values()]) this.#send(call)
  }

  connectionLost(): void {
    this.#isSending = false
    this.#opening = 0
  }

  /** Fails the volatile calls that may be lost. Resends the others, unless they were sent on this connection and not lost. */
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

  /** A new session has replaced the old one and starts at sequence 1. Calls sent in the old one have an unknown outcome. */
  sessionReplaced(): void {
    for (const call of [...this.#pending.values()]) {
      const { durable, resend } = call.entry.command.options
      if (!call.wasSent || resend) continue
      this.#fail(call, durable ? 'DEADLINE' : 'SHARD_RESTARTED', 'the session was lost, the outcome is unknown')
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
    this.#throttle.accepted()
    const { command, codec } = call.entry
    let value: unknown
    try {
      value = command.output ? command.output(codec.decode(body, command.outputBounds)) : undefined
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : ''
      return this.#fail(call, 'BAD_INPUT', `the reply violates the contract: ${why}`, { cause })
    }
    this.#unackedBytes += body.length
    this.#finishCall(call, 'ok')
    call.settle?.resolve(value)
  }

  errorReceived({ sequence, kind, code, message, ...error }: ErrorMessage): void {
    const call = this.#pending.get(sequence)
    const retryAfterMs = error.retryAfterMs === undefined ? 0 : this.#throttle.refused(error.retryAfterMs)
    if (!call) return
    if (retryAfterMs > 0 && call.entry.command.options.durable && !call.settle)
      return this.#resendLater(call, retryAfterMs)
    if (kind !== 'refusal') return this.#fail(call, code as SystemCode, message, { retryAfterMs })
    this.#finishCall(call, code)
    call.settle?.reject(new Refusal(code, this.#message(call.entry, message)))
  }

  /** All calls up to the mark have taken effect, which completes durable casts. */
  markReceived(mark: number): void {
    for (const call of this.#pending.values()) {
      if (call.sequence > mark) break
      if (!call.settle) this.#finishCall(call, 'ok')
    }
  }

  /** The channel was closed: pending and later calls fail, later casts are dropped. */
  channelClosed(code: string): void {
    this.#isSending = false
    this.#closeCode = code
    this.#castTimer?.cancel()
    for (const call of [...this.#pending.values()]) this.#fail(call, 'CLOSED', closedMessage(code))
  }

  /**
   * The server refused the channel: pending calls fail with its code, or with CLOSED if they may have run while the channel `wasOpen`.
   * Later ones belong to the channel `next`, from sequence 1.
   */
  channelRefused(code: string, next: number, wasOpen: boolean): void {
    this.#isSending = false
    for (const call of [...this.#pending.values()])
      this.#fail(
        call,
        wasOpen && call.wasSent ? 'CLOSED' : systemCodeOf(code),
        `the server refused the channel (${code})`,
      )
    this.#castTimer?.cancel()
    this.#castTimer = null
    this.#channel = next
    this.#opening = 0
    this.#sequence = this.#answeredUpTo = this.#ackedUpTo = this.#unackedBytes = 0
  }

  /** Acknowledges the answers and events that have arrived. */
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
    // A cast that is sent late is wrong by default: it describes an earlier moment.
    const waitMs = durable ? 0 : this.#throttle.waitMs()
    if (offline === 'drop' && (!this.#isSending || this.#isFull || waitMs > 0)) return
    this.#requireCapacity(entry, offline === 'fail', waitMs)
    const call = this.#createCall(entry, body, null)
    if (!durable && !this.#isSending) call.timer = this.#startDeadline(call)
    if (durable || !this.#isSending) this.#pending.set(call.sequence, call)
    this.#advanceAnswered()
    if (this.#isSending && !(durable && this.#castTimer)) this.#send(call)
  }

  /** A command with output. The promise fails with CallError, InputError or Refusal. */
  sendCall(entry: ClientCommand, input: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const body = this.#encodeBody(entry, input)
      if (this.#closeCode !== null) throw this.#callError(entry, 'CLOSED', closedMessage(this.#closeCode))
      const { offline = 'keep' } = entry.command.options
      this.#requireCapacity(entry, offline !== 'keep', this.#throttle.waitMs())
      const call = this.#createCall(entry, body, { resolve, reject })
      call.timer = this.#startDeadline(call)
      this.#pending.set(call.sequence, call)
      if (this.#isSending) this.#send(call)
    })
  }

  #createCall(entry: ClientCommand, body: Uint8Array, settle: PendingCall['settle']): PendingCall {
    const startedMs = this.#transport.clock.mono()
    return { sequence: ++this.#sequence, wasSent: false, entry, body, startedMs, timer: null, settle }
  }

  #startDeadline(call: PendingCall): { cancel(): void } {
    const { clock, timeoutMs } = this.#transport
    return clock.after(timeoutMs, () =>
      this.#fail(call, 'DEADLINE', `${call.wasSent ? 'no answer' : 'not sent'} within ${timeoutMs} ms`),
    )
  }

  /** @throws CallError when the call can neither be sent nor queued. `waitMs`: of the throttle */
  #requireCapacity(entry: ClientCommand, needsConnection: boolean, waitMs: number): void {
    if (waitMs > 0) throw this.#callError(entry, 'OVERLOADED', 'the server is overloaded', { retryAfterMs: waitMs })
    if (needsConnection && !this.#isSending) throw this.#callError(entry, 'UNAVAILABLE', 'no connection')
    if (this.#isFull)
      throw this.#callError(entry, 'OVERLOADED', `${this.#pending.size} calls of this channel are pending`)
  }

  /** Encodes the body of a call. The server closes the connection for a body above its limit, so that is an InputError. */
  #encodeBody({ name, command, codec }: ClientCommand, input: unknown): Uint8Array {
    let body: Uint8Array
    try {
      body = codec.encode(command.input(input), command.inputBounds)
    } catch (cause) {
      throw contractViolation(`${this.#contract}.${name}`, 'input', cause)
    }
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
    // A volatile cast that was queued: it has no answer.
    call.timer?.cancel()
    this.#pending.delete(call.sequence)
    this.#advanceAnswered()
  }

  /** A durable cast was refused, so it had no effect: it is sent again as a new call, before later ones. */
  #resendLater(call: PendingCall, ms: number): void {
    this.#pending.delete(call.sequence)
    call.sequence = ++this.#sequence
    call.wasSent = false
    this.#pending.set(call.sequence, call)
    this.#advanceAnswered()
    this.#castTimer ??= this.#transport.clock.after(ms, () => {
      this.#castTimer = null
      if (this.#isSending) for (const waiting of [...this.#pending.values()]) if (!waiting.wasSent) this.#send(waiting)
    })
  }

  #fail(call: PendingCall, code: SystemCode, reason: string, options?: CallErrorOptions): void {
    this.#finishCall(call, code)
    call.settle?.reject(this.#callError(call.entry, code, reason, options))
  }

  #callError(entry: ClientCommand, code: SystemCode, reason: string, options?: CallErrorOptions): CallError {
    return new CallError(code, this.#message(entry, reason), options)
  }

  #message(entry: ClientCommand, reason: string): string {
    return `${this.#contract}.${entry.name}: ${reason}`
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

  /** The message being sent acknowledges all answers. */
  #markAcked(): void {
    this.#ackedUpTo = this.#answeredUpTo
    this.#unackedBytes = 0
  }

  /** All calls before the oldest pending one are answered. */
  #advanceAnswered(): void {
    const [oldest] = this.#pending.keys()
    this.#answeredUpTo = oldest === undefined ? this.#sequence : oldest - 1
  }
}

/** A code that this client does not know is in the message only. */
function systemCodeOf(code: string): SystemCode {
  return SYSTEM_CODES.find((known) => known === code) ?? 'CLOSED'
}

function closedMessage(code: string): string {
  return `the channel is closed (${code})`
}
