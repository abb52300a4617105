// A version 2 session: HELLO, then channels to shards by contract and key. It checks who may open what and keeps
// the windows; sequences, marks and replies are the shard's business.

import { isKey, shardName, RETAIN, type ChannelIn, type ChannelOut } from '../core/run/ports.ts'
import { ProtocolError, type SystemCode } from '../core/wire/errors.ts'
import { TIMES } from '../core/wire/limits.ts'
import {
  CALL_BYTES,
  decodeAck,
  decodeCall,
  decodeClose,
  decodeHello,
  decodeOpen,
  encodeAck,
  encodeClose,
  encodeError,
  encodeOpened,
  encodeWelcome,
  MESSAGE,
  PROTOCOL_VERSION,
  type ErrorKind,
} from '../core/wire/message.ts'
import type { Keys } from './bindings.ts'
import type { Connection } from './connection.ts'

const NO_BYTES = new Uint8Array(0)

export class Session {
  readonly connection: Connection
  readonly #channels = new Map<number, SessionChannel>()
  #id: Uint8Array = NO_BYTES
  #name = ''
  #keys: Keys = new Map()

  constructor(connection: Connection) {
    this.connection = connection
  }

  /** @throws ProtocolError */
  frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === MESSAGE.CALL) return this.#call(source, start, end)
    switch (command) {
      case MESSAGE.HELLO:
        return this.#hello(source, start, end)
      case MESSAGE.OPEN:
        return this.#open(source, start, end)
      case MESSAGE.ACK: {
        const ack = decodeAck(source, start, end)
        return this.#channels.get(ack.channel)?.shard.ack(ack.calls, ack.events)
      }
      case MESSAGE.PING:
        return this.connection.frame(MESSAGE.PONG, source.subarray(start, end))
      case MESSAGE.PONG:
        return
      case MESSAGE.CLOSE:
        return this.drop(decodeClose(source, start, end).channel)
      default:
        throw new ProtocolError('BAD_MESSAGE', `message ${command} is not one a client sends`)
    }
  }

  #hello(source: Uint8Array, start: number, end: number): void {
    if (this.#name !== '') throw new ProtocolError('BAD_MESSAGE', 'HELLO was said before')
    const { gateway } = this.connection
    const hello = decodeHello(source, start, end)
    if (hello.minVersion > PROTOCOL_VERSION || hello.maxVersion < PROTOCOL_VERSION) {
      const range = `${hello.minVersion}..${hello.maxVersion}`
      throw new ProtocolError(
        'BAD_MESSAGE',
        `client speaks versions ${range}, this server ${PROTOCOL_VERSION}`,
      )
    }
    this.#id = hello.session.some((byte) => byte !== 0) ? hello.session : gateway.clock.id()
    this.#name = [...this.#id].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    gateway.sessions.get(this.#name)?.close('REPLACED', 'the session arrived on a newer connection')
    gateway.sessions.set(this.#name, this.connection)
    this.#keys = gateway.bindings.take(this.#name)
    const welcome = encodeWelcome({
      version: PROTOCOL_VERSION,
      session: this.#id,
      heartbeatMs: TIMES.heartbeatMs,
      maxBodyBytes: gateway.limits.maxBodyBytes,
      token: NO_BYTES,
    })
    this.connection.frame(MESSAGE.WELCOME, welcome)
  }

  #open(source: Uint8Array, start: number, end: number): void {
    const open = decodeOpen(source, start, end)
    const { door, limits, link } = this.connection.gateway
    if (this.#channels.has(open.channel))
      throw new ProtocolError('BAD_MESSAGE', `channel ${open.channel} is open`)
    const contract = door.byName.get(open.contract)
    const refuse = (code: SystemCode, message: string): void =>
      this.error(open.channel, 0, 'system', code, message)
    if (!contract) return refuse('UNKNOWN_CONTRACT', 'this game has no such contract')
    const own = contract.bound ? this.#keys.get(contract.name) : undefined
    if (contract.bound && own === undefined)
      return refuse('FORBIDDEN', `${contract.name}: this session is not bound to a key of it yet`)
    if (!contract.public && own === undefined) return refuse('FORBIDDEN', `${contract.name} is not public`)
    const key = own ?? (contract.stateless ? contract.key : open.key)
    if (!contract.stateless && !isKey(key, limits.maxKeyBytes))
      return refuse('BAD_KEY', `a key is 1..${limits.maxKeyBytes} bytes of text`)
    if (this.#channels.size >= limits.maxChannels)
      return refuse('TOO_MANY_CHANNELS', `at most ${limits.maxChannels}`)
    const channel = new SessionChannel(this, open.channel, shardName({ contract: contract.name, key }))
    this.#channels.set(open.channel, channel)
    channel.shard = link.open(
      {
        shard: { contract: contract.name, key },
        session: this.#id,
        channel: open.channel,
        legacy: false,
        activation: open.activation,
        memo: NO_BYTES,
      },
      channel,
    )
  }

  #call(source: Uint8Array, start: number, end: number): void {
    const call = decodeCall(source, start, end)
    const channel = this.#channels.get(call.channel)
    if (!channel)
      return this.error(call.channel, call.sequence, 'system', 'CLOSED', 'the channel is not open')
    const { door, limits } = this.connection.gateway
    if (call.sequence - call.replyAck > limits.maxUnackedReplies) {
      throw new ProtocolError('WINDOW', `${call.sequence - call.replyAck} calls without acknowledged reply`)
    }
    const known = door.byNumber.get(call.command)?.command
    const maxBytes = known?.maxBytes ?? 0
    const size = end - start - CALL_BYTES
    if (maxBytes !== 0 && size > maxBytes) {
      const message = `body ${size} bytes exceeds ${maxBytes}`
      return this.error(call.channel, call.sequence, 'system', 'BAD_INPUT', message)
    }
    // Sent before the client heard that its shard was lost; it comes again, behind what is older.
    if (call.opening < channel.floor) return
    if (known?.durable) channel.ackFrom = call.sequence
    channel.call(call.sequence, call.command, call.replyAck, source.subarray(start + CALL_BYTES, end))
  }

  error(channel: number, sequence: number, kind: ErrorKind, code: string, message: string): void {
    this.connection.frame(MESSAGE.ERROR, encodeError({ channel, sequence, kind, code, message }))
  }

  /** The client leaves a channel for good. */
  drop(number: number): void {
    const channel = this.#channels.get(number)
    if (!channel) return
    this.#channels.delete(number)
    channel.ended()
    channel.shard.close(true)
  }

  /** The game says which key of a contract this session means. Channels that are open stay where they are. */
  bind(contract: string, key: string): void {
    this.#keys.set(contract, key)
  }

  ended(): void {
    const { sessions, bindings } = this.connection.gateway
    if (sessions.get(this.#name) === this.connection) {
      sessions.delete(this.#name)
      bindings.ended(this.#name)
    }
    for (const channel of this.#channels.values()) channel.shard.close(false)
  }
}

class SessionChannel implements ChannelOut {
  readonly #session: Session
  readonly #number: number
  readonly #name: string
  /** Set right after construction: the link may speak to us while it opens. */
  shard!: ChannelIn
  /** The last durable call: the client waits for its mark even if it has no reply. */
  ackFrom = 0
  /** Calls of an opening below this one were sent before the client heard of a loss. */
  floor = 0
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
    this.#session.connection.frame(MESSAGE.OPENED, encodeOpened({ channel, activation, mark, lost, opening }))
    if (!lost) return
    this.floor = opening
    this.ended()
  }

  reply(sequence: number, _command: number, body: Uint8Array): void {
    this.#session.connection.message(MESSAGE.REPLY, this.#number, sequence, null, body)
    this.#ended(sequence)
  }

  error(sequence: number, _command: number, kind: ErrorKind, code: string, message: string): void {
    this.#session.error(this.#number, sequence, kind, code, message)
    this.#ended(sequence)
  }

  event(sequence: number, event: number, body: Uint8Array): void {
    this.#session.connection.message(MESSAGE.EVENT, this.#number, sequence, event, body)
  }

  applied(mark: number): void {
    if (this.ackFrom !== 0) {
      this.#session.connection.frame(
        MESSAGE.ACK,
        encodeAck({ channel: this.#number, calls: mark, events: 0 }),
      )
      if (mark >= this.ackFrom) this.ackFrom = 0
    }
    this.#ended(mark)
  }

  memo(): void {}

  bind(contract: string, key: string): void {
    this.#session.bind(contract, key)
  }

  closed(code: string): void {
    this.#session.connection.frame(MESSAGE.CLOSE, encodeClose({ channel: this.#number, code }))
    this.#session.connection.gateway.log.info('a channel is closed by its shard', { shard: this.#name, code })
    this.#session.drop(this.#number)
  }
}
