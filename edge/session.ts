// A version 2 session: HELLO, then channels to shards by contract and key. It checks who may open what and keeps
// the windows; sequences, marks, answers and events are the shard's business.

import { isKey, shardName } from '../core/run/ports.ts'
import { ProtocolError, type CloseReason, type SystemCode } from '../core/wire/errors.ts'
import {
  CALL_BYTES,
  decodeAck,
  decodeCall,
  decodeClose,
  decodeHello,
  decodeOpen,
  decodeResume,
  encodeError,
  encodeOpened,
  encodeResync,
  encodeToken,
  encodeWelcome,
  MESSAGE,
  PROTOCOL_VERSION,
  type ErrorKind,
  type Open,
} from '../core/wire/message.ts'
import { SessionChannel } from './channel.ts'
import { PAUSED, type Connection } from './connection.ts'
import type { Gateway } from './gateway.ts'
import { greet } from './greeting.ts'
import type { Identity, IdentityOwner } from './identity.ts'

/** What opening a channel costs of a session's budget: it may wake a shard. */
const OPEN_COST = 20

export class Session implements IdentityOwner {
  readonly connection: Connection
  readonly #channels = new Map<number, SessionChannel>()
  #greeted = false
  identity: Identity | null = null
  /** OPENED of channel 0. */
  #opening = 0
  /** What the session's own shard said before WELCOME; null = WELCOME has been said. */
  #early: (() => void)[] | null = []
  #held = false

  constructor(connection: Connection) {
    this.connection = connection
  }

  get gateway(): Gateway {
    return this.connection.gateway
  }

  /** @throws ProtocolError */
  frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === MESSAGE.CALL) return this.#call(source, start, end)
    switch (command) {
      case MESSAGE.HELLO:
        return this.#hello(source, start, end)
      case MESSAGE.OPEN:
        return this.#open(decodeOpen(source, start, end))
      case MESSAGE.RESUME:
        for (const open of decodeResume(source, start, end).opens) this.#open(open)
        return
      case MESSAGE.ACK: {
        const ack = decodeAck(source, start, end)
        if (ack.channel === 0) return this.identity?.ack(ack.events)
        return this.#channels.get(ack.channel)?.shard.ack(ack.calls, ack.events)
      }
      case MESSAGE.PING:
        if (this.identity?.isStale) this.changed()
        return this.connection.outflow.frame(MESSAGE.PONG, source.subarray(start, end))
      case MESSAGE.PONG:
        return this.connection.ponged(source, start, end)
      case MESSAGE.CLOSE:
        return this.drop(decodeClose(source, start, end).channel)
      default:
        throw new ProtocolError('BAD_MESSAGE', `message ${command} is not one a client sends`)
    }
  }

  #hello(source: Uint8Array, start: number, end: number): void {
    if (this.#greeted) throw new ProtocolError('BAD_MESSAGE', 'HELLO was said before')
    this.#greeted = true
    const hello = decodeHello(source, start, end)
    if (hello.minVersion > PROTOCOL_VERSION || hello.maxVersion < PROTOCOL_VERSION) {
      const range = `${hello.minVersion}..${hello.maxVersion}`
      throw new ProtocolError(
        'BAD_MESSAGE',
        `client speaks versions ${range}, this server ${PROTOCOL_VERSION}`,
      )
    }
    const { connection } = this
    connection.pause(PAUSED.greeting)
    greet(hello, this, connection.transport.remote, {
      welcome: (identity, isResumed) => this.#welcome(identity, isResumed),
      refuse: (reason, message) => {
        connection.unpause(PAUSED.greeting)
        connection.close(reason, message)
      },
      failed: (error) => {
        connection.unpause(PAUSED.greeting)
        connection.failed(error)
      },
    })
  }

  #welcome(identity: Identity, resumed: boolean): void {
    const { connection, gateway } = this
    if (connection.over) return identity.ended(false)
    this.identity = identity
    const { sessions, limits, times } = gateway
    sessions.get(identity.name)?.close('REPLACED', 'the session arrived on a newer connection')
    sessions.set(identity.name, connection)
    if (resumed) gateway.meter.resumes++
    connection.spoken(identity.uid)
    if (resumed || identity.uid !== '') identity.attach()
    const token = identity.token()
    const say = (bytes: Uint8Array): void => {
      const welcome = {
        version: PROTOCOL_VERSION,
        resumed,
        session: identity.session,
        heartbeatMs: times.heartbeatMs,
        maxBodyBytes: limits.maxBodyBytes,
        token: bytes,
      }
      connection.outflow.frame(MESSAGE.WELCOME, encodeWelcome(welcome))
      const early = this.#early ?? []
      this.#early = null
      for (const run of early) run()
      connection.unpause(PAUSED.greeting)
    }
    if (token instanceof Promise) token.then(say, (error: unknown) => connection.failed(error))
    else say(token)
  }

  #open(open: Open): void {
    const { identity, connection } = this
    if (!identity) throw new ProtocolError('BAD_MESSAGE', 'OPEN before WELCOME')
    const { door, limits, link } = this.gateway
    if (this.#channels.has(open.channel))
      throw new ProtocolError('BAD_MESSAGE', `channel ${open.channel} is open`)
    connection.spend(OPEN_COST)
    const contract = door.byName.get(open.contract)
    const refuse = (code: SystemCode, message: string): void =>
      this.error(open.channel, 0, 'system', code, message)
    if (!contract) return refuse('UNKNOWN_CONTRACT', 'this game has no such contract')
    const own = contract.bound ? identity.keyOf(contract.name) : undefined
    if (contract.bound && own === undefined)
      return refuse('FORBIDDEN', `${contract.name}: this session is not bound to a key of it yet`)
    const isKnown = own !== undefined || (contract.players === true && identity.uid !== '')
    if (!contract.public && !isKnown)
      return refuse('FORBIDDEN', `${contract.name} is not public${contract.players ? ': log in first' : ''}`)
    const key = own ?? (contract.stateless ? contract.key : open.key)
    if (!contract.stateless && !isKey(key, limits.maxKeyBytes))
      return refuse('BAD_KEY', `a key is 1..${limits.maxKeyBytes} bytes of text`)
    if (this.#channels.size >= limits.maxChannels)
      return refuse('TOO_MANY_CHANNELS', `at most ${limits.maxChannels}`)
    const shard = { contract: contract.name, key }
    const channel = new SessionChannel(this, open.channel, shardName(shard))
    this.#channels.set(open.channel, channel)
    const { session, uid, epoch, connection: generation } = identity
    const { activation, eventAck } = open
    channel.shard = link.open(
      {
        shard,
        session,
        channel: open.channel,
        legacy: false,
        activation,
        memo: NO_BYTES,
        eventAck,
        uid,
        epoch,
        generation,
      },
      channel,
    )
    // What the shard had granted before, and says again while it opens.
    if (identity.uid !== uid) channel.shard.identify(identity.uid, identity.epoch)
    if (this.#held) channel.hold(true)
  }

  #call(source: Uint8Array, start: number, end: number): void {
    const call = decodeCall(source, start, end)
    const { connection } = this
    const channel = this.#channels.get(call.channel)
    if (!channel)
      return this.error(call.channel, call.sequence, 'system', 'CLOSED', 'the channel is not open')
    const { door, limits } = this.gateway
    if (call.sequence - call.replyAck > limits.maxUnackedReplies) {
      throw new ProtocolError('WINDOW', `${call.sequence - call.replyAck} calls without acknowledged reply`)
    }
    const known = door.byNumber.get(call.command)?.command
    if (known !== undefined && known.cost > 1) connection.spend(known.cost - 1)
    const maxBytes = known?.maxBytes ?? 0
    const size = end - start - CALL_BYTES
    if (maxBytes !== 0 && size > maxBytes) {
      const message = `body ${size} bytes exceeds ${maxBytes}`
      return this.error(call.channel, call.sequence, 'system', 'BAD_INPUT', message)
    }
    // Sent before the client heard that its shard was lost; it comes again, behind what is older.
    if (call.opening < channel.floor) return
    const body = connection.opened(source.subarray(start + CALL_BYTES, end))
    if (known?.durable) channel.ackFrom = call.sequence
    channel.call(call.sequence, call.command, call.replyAck, body)
  }

  error(channel: number, sequence: number, kind: ErrorKind, code: string, message: string): void {
    if (kind === 'system') this.gateway.meter.errored(code)
    this.connection.outflow.frame(MESSAGE.ERROR, encodeError({ channel, sequence, kind, code, message }))
  }

  /** The client leaves a channel for good. */
  drop(number: number): void {
    const channel = this.lose(number)
    channel?.ended()
    channel?.shard.close(true)
  }

  /** The channel is no longer ours. */
  lose(number: number): SessionChannel | undefined {
    const channel = this.#channels.get(number)
    this.#channels.delete(number)
    return channel
  }

  /** The client reads too slowly: events wait beside their shards, until (false) it has caught up. */
  hold(on: boolean): void {
    this.#held = on
    this.identity?.hold(on)
    for (const channel of this.#channels.values()) {
      // What has waited may fill it again.
      if (!on && this.connection.outflow.congested) return void (this.#held = true)
      channel.hold(on)
    }
  }

  changed(): void {
    const { identity, connection } = this
    if (!identity) return
    connection.spoken(identity.uid)
    for (const { shard } of this.#channels.values()) shard.identify(identity.uid, identity.epoch)
    const token = identity.nextToken()
    const say = (bytes: Uint8Array): void => connection.outflow.frame(MESSAGE.TOKEN, encodeToken(bytes))
    // On Workers it is made in its own time; all that is said meanwhile leaves in one message with it.
    if (token instanceof Promise) connection.outflow.awaitFirst(token.then(say))
    else say(token)
  }

  anchored(activation: number): void {
    this.#say(() => {
      const opened = { channel: 0, activation, mark: 0, lost: false, opening: ++this.#opening }
      if (this.identity?.uid !== '') this.connection.outflow.frame(MESSAGE.OPENED, encodeOpened(opened))
    })
  }

  pushed(sequence: number, event: number, body: Uint8Array): void {
    this.#say(() =>
      this.connection.outflow.message(MESSAGE.EVENT, 0, sequence, event, this.connection.sealed(body)),
    )
  }

  missed(events: number): void {
    this.#say(() => this.connection.outflow.frame(MESSAGE.RESYNC, encodeResync({ channel: 0, events })))
  }

  #say(run: () => void): void {
    if (this.#early) this.#early.push(run)
    else run()
  }

  close(reason: CloseReason, message: string, forget = false): void {
    this.connection.close(reason, message, forget)
  }

  /** `forget`: the client does not come back. */
  ended(forget: boolean): void {
    const { sessions } = this.gateway
    const name = this.identity?.name ?? ''
    if (sessions.get(name) === this.connection) sessions.delete(name)
    for (const channel of this.#channels.values()) channel.shard.close(forget)
    this.#channels.clear()
    this.identity?.ended(forget)
  }
}

const NO_BYTES = new Uint8Array(0)
