// One channel of a version 2 session, as its gateway knows it: what was sent, what is waited for, and which calls come
// from before a loss. Sequences, marks, answers and events are the shard's business.

import {
  CLOSED_CHANNEL,
  REPLACED,
  RETAIN,
  SUPERSEDED,
  type ChannelIn,
  type ChannelOut,
} from '../../core/ports/link.ts'
import {
  encodeAck,
  encodeClose,
  encodeOpened,
  encodeResync,
  MESSAGE,
  type ErrorKind,
} from '../../core/wire/message.ts'
import type { Session } from './session.ts'

export class SessionChannel implements ChannelOut {
  readonly #session: Session
  readonly #number: number
  readonly #shardName: string
  /** Set right after construction: the link may speak to us while it opens. */
  shard: ChannelIn = CLOSED_CHANNEL
  /** The last durable call: the client waits for its mark even if it has no reply. */
  unackedDurableCall = 0
  /** Calls of an opening below this one were sent before the client heard of a loss. */
  minOpening = 0
  /** Its events wait beside the shard. */
  areEventsPaused = false
  #openedCount = 0
  #lastSent = 0
  #lastSettled = 0
  #sampledSequence = 0
  #sampledMs = 0

  constructor(session: Session, number: number, name: string) {
    this.#session = session
    this.#number = number
    this.#shardName = name
  }

  sendCall(sequence: number, command: number, replyAck: number, body: Uint8Array): void {
    const { connection } = this.#session
    if (sequence > this.#lastSent) {
      if (this.#lastSent === 0) this.#lastSettled = Math.max(this.#lastSettled, sequence - 1)
      connection.addPendingCalls(sequence - Math.max(this.#lastSent, this.#lastSettled))
      this.#lastSent = sequence
    }
    if (connection.gateway.meter.shouldSample()) {
      this.#sampledSequence = sequence
      this.#sampledMs = connection.gateway.clock.mono()
    }
    this.shard.submitCall(sequence, command, RETAIN, replyAck, body)
  }

  pauseEvents(isPaused: boolean): void {
    if (isPaused === this.areEventsPaused) return
    this.areEventsPaused = isPaused
    this.shard.pauseEvents(isPaused)
  }

  #settleThrough(sequence: number): void {
    const { connection } = this.#session
    if (this.#sampledSequence !== 0 && sequence >= this.#sampledSequence) {
      connection.gateway.meter.onCallLatency(connection.gateway.clock.mono() - this.#sampledMs)
      this.#sampledSequence = 0
    }
    const upTo = Math.min(sequence, this.#lastSent)
    if (upTo <= this.#lastSettled) return
    const settledCalls = upTo - this.#lastSettled
    this.#lastSettled = upTo
    connection.addPendingCalls(-settledCalls)
  }

  /** Nothing of this channel is waited for any more. */
  settleAll(): void {
    this.#settleThrough(this.#lastSent)
  }

  channelOpened(activation: number, mark: number, lost: boolean): void {
    const channel = this.#number
    const opening = ++this.#openedCount
    this.#session.connection.writer.writeFrame(
      MESSAGE.OPENED,
      encodeOpened({ channel, activation, mark, lost, opening }),
    )
    if (!lost) return
    this.minOpening = opening
    this.settleAll()
  }

  reply(sequence: number, _command: number, body: Uint8Array): void {
    const { connection } = this.#session
    connection.writer.writeMessage(MESSAGE.REPLY, this.#number, sequence, null, connection.encryptBody(body))
    this.#settleThrough(sequence)
  }

  error(sequence: number, _command: number, kind: ErrorKind, code: string, message: string): void {
    this.#session.sendError(this.#number, sequence, kind, code, message)
    this.#settleThrough(sequence)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    const { connection } = this.#session
    connection.writer.writeMessage(MESSAGE.EVENT, this.#number, sequence, event, connection.encryptBody(body))
  }

  resyncRequired(events: number): void {
    this.#session.connection.writer.writeFrame(
      MESSAGE.RESYNC,
      encodeResync({ channel: this.#number, events }),
    )
  }

  callsApplied(mark: number): void {
    if (this.unackedDurableCall !== 0) {
      const ack = encodeAck({ channel: this.#number, calls: mark, events: 0 })
      this.#session.connection.writer.writeFrame(MESSAGE.ACK, ack)
      if (mark >= this.unackedDurableCall) this.unackedDurableCall = 0
    }
    this.#settleThrough(mark)
  }

  membershipToken(): void {}

  keyBound(contract: string, key: string): void {
    this.#session.identity?.bindKey(contract, key)
  }

  loggedIn(uid: string, epoch: number): void {
    this.#session.identity?.applyLogin(uid, epoch)
  }

  channelClosed(code: string): void {
    const { connection } = this.#session
    // Taken over by a newer connection or login: nothing of it is ours to close.
    this.#session.removeChannel(this.#number)
    this.settleAll()
    if (code === REPLACED)
      return connection.closeConnection('REPLACED', 'the session arrived on a newer connection')
    if (code === SUPERSEDED)
      return connection.closeConnection('REPLACED', 'this player has logged in elsewhere', true)
    if (code === 'FORBIDDEN') {
      this.#session.sendError(
        this.#number,
        0,
        'system',
        code,
        `${this.#shardName} does not admit this session`,
      )
    } else connection.writer.writeFrame(MESSAGE.CLOSE, encodeClose({ channel: this.#number, code }))
    connection.gateway.log.info('a channel is closed by its shard', { shard: this.#shardName, code })
  }
}
