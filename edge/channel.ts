// One channel of a version 2 session, as its gateway knows it: what was sent, what is waited for, and which calls come
// from before a loss. Sequences, marks, answers and events are the shard's business.

import { NOWHERE, REPLACED, RETAIN, SUPERSEDED, type ChannelIn, type ChannelOut } from '../core/run/ports.ts'
import {
  encodeAck,
  encodeClose,
  encodeOpened,
  encodeResync,
  MESSAGE,
  type ErrorKind,
} from '../core/wire/message.ts'
import type { Session } from './session.ts'

export class SessionChannel implements ChannelOut {
  readonly #session: Session
  readonly #number: number
  readonly #name: string
  /** Set right after construction: the link may speak to us while it opens. */
  shard: ChannelIn = NOWHERE
  /** The last durable call: the client waits for its mark even if it has no reply. */
  ackFrom = 0
  /** Calls of an opening below this one were sent before the client heard of a loss. */
  floor = 0
  /** Its events wait beside the shard. */
  held = false
  #opening = 0
  #sent = 0
  #done = 0
  #timed = 0
  #timedMs = 0

  constructor(session: Session, number: number, name: string) {
    this.#session = session
    this.#number = number
    this.#name = name
  }

  call(sequence: number, command: number, replyAck: number, body: Uint8Array): void {
    const { connection } = this.#session
    if (sequence > this.#sent) {
      if (this.#sent === 0) this.#done = Math.max(this.#done, sequence - 1)
      connection.count(sequence - Math.max(this.#sent, this.#done))
      this.#sent = sequence
    }
    if (connection.gateway.meter.sample()) {
      this.#timed = sequence
      this.#timedMs = connection.gateway.clock.mono()
    }
    this.shard.call(sequence, command, RETAIN, replyAck, body)
  }

  hold(on: boolean): void {
    if (on === this.held) return
    this.held = on
    this.shard.hold(on)
  }

  #ended(sequence: number): void {
    const { connection } = this.#session
    if (this.#timed !== 0 && sequence >= this.#timed) {
      connection.gateway.meter.took(connection.gateway.clock.mono() - this.#timedMs)
      this.#timed = 0
    }
    const upTo = Math.min(sequence, this.#sent)
    if (upTo <= this.#done) return
    const ended = upTo - this.#done
    this.#done = upTo
    connection.count(-ended)
  }

  /** Nothing of this channel is waited for any more. */
  ended(): void {
    this.#ended(this.#sent)
  }

  opened(activation: number, mark: number, lost: boolean): void {
    const channel = this.#number
    const opening = ++this.#opening
    this.#session.connection.outflow.frame(
      MESSAGE.OPENED,
      encodeOpened({ channel, activation, mark, lost, opening }),
    )
    if (!lost) return
    this.floor = opening
    this.ended()
  }

  reply(sequence: number, _command: number, body: Uint8Array): void {
    const { connection } = this.#session
    connection.outflow.message(MESSAGE.REPLY, this.#number, sequence, null, connection.sealed(body))
    this.#ended(sequence)
  }

  error(sequence: number, _command: number, kind: ErrorKind, code: string, message: string): void {
    this.#session.error(this.#number, sequence, kind, code, message)
    this.#ended(sequence)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    const { connection } = this.#session
    connection.outflow.message(MESSAGE.EVENT, this.#number, sequence, event, connection.sealed(body))
  }

  resync(events: number): void {
    this.#session.connection.outflow.frame(MESSAGE.RESYNC, encodeResync({ channel: this.#number, events }))
  }

  applied(mark: number): void {
    if (this.ackFrom !== 0) {
      const ack = encodeAck({ channel: this.#number, calls: mark, events: 0 })
      this.#session.connection.outflow.frame(MESSAGE.ACK, ack)
      if (mark >= this.ackFrom) this.ackFrom = 0
    }
    this.#ended(mark)
  }

  memo(): void {}

  bind(contract: string, key: string): void {
    this.#session.identity?.bind(contract, key)
  }

  login(uid: string, epoch: number): void {
    this.#session.identity?.login(uid, epoch)
  }

  closed(code: string): void {
    const { connection } = this.#session
    // Taken over by a newer connection or login: nothing of it is ours to close.
    this.#session.lose(this.#number)
    this.ended()
    if (code === REPLACED) return connection.close('REPLACED', 'the session arrived on a newer connection')
    if (code === SUPERSEDED) return connection.close('REPLACED', 'this player has logged in elsewhere', true)
    if (code === 'FORBIDDEN') {
      this.#session.error(this.#number, 0, 'system', code, `${this.#name} does not admit this session`)
    } else connection.outflow.frame(MESSAGE.CLOSE, encodeClose({ channel: this.#number, code }))
    connection.gateway.log.info('a channel is closed by its shard', { shard: this.#name, code })
  }
}
