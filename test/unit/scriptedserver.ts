// A server by hand for the tests of the SDK: connections on a manual clock, messages said and heard one by one. Nothing
// happens between the steps of a test but what the clock is told to do.

import assert from 'node:assert/strict'

import {
  connect,
  type ConnectOptions,
  type Dial,
  type Firefly,
  type SocketEvents,
} from '../../client/index.ts'
import { ManualClock } from '../../core/testing/memory.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { command, contract, event } from '../../core/wire/contract.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../core/wire/frame.ts'
import {
  CALL_BYTES,
  decodeAck,
  decodeCall,
  decodeClose,
  decodeHello,
  decodeOpen,
  decodeResume,
  encodeError,
  encodeEvent,
  encodeOpened,
  encodeReply,
  encodeResync,
  encodeWelcome,
  MESSAGE,
  type Welcome,
} from '../../core/wire/message.ts'
import { t } from '../../core/wire/type.ts'

export const Room = contract('room', {
  ask: command(1, { n: t.u16 }, { n: t.u16 }),
  save: command(2, { n: t.u16 }, { n: t.u16 }, { durable: true }),
  note: command(3, { n: t.u16 }, null, { durable: true }),
  step: command(4, { n: t.u16 }),
  again: command(5, { n: t.u16 }, { n: t.u16 }, { resend: true }),
  keptStep: command(6, { n: t.u16 }, null, { offline: 'keep' }),
  sternStep: command(7, { n: t.u16 }, null, { offline: 'fail' }),
  sternAsk: command(8, { n: t.u16 }, { n: t.u16 }, { offline: 'fail' }),
  looseAsk: command(9, { n: t.u16 }, { n: t.u16 }, { offline: 'drop' }),
  sternSave: command(10, { n: t.u16 }, { n: t.u16 }, { durable: true, offline: 'fail' }),
  moved: event(50, { n: t.u16 }),
  blob: event(51, { text: t.string(65_000) }),
})

export const SESSION = new Uint8Array(16).fill(7)
const IDENTITY = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const utf8Encoder = new TextEncoder()
const utf8Decoder = new TextDecoder()

/** What a client has said: its name and its fields. */
export type ReceivedMessage = readonly [string, ...unknown[]]

/** One connection as the server has it. */
export class ScriptedConnection {
  readonly events: SocketEvents
  readonly url: string
  /** How the client hung up: for good or not; null = it has not. */
  clientLeave: boolean | null = null
  /** Messages of the WebSocket, one for each write. */
  writes: Uint8Array[] = []

  constructor(url: string, events: SocketEvents) {
    this.url = url
    this.events = events
  }

  send(message: number, body: Uint8Array): this {
    this.events.message(encodeFrame(IDENTITY, message, body))
    return this
  }

  sendWelcome(fields: Partial<Omit<Welcome, 'token'>> & { token?: string } = {}): this {
    const { token = '', ...rest } = fields
    const defaults = {
      version: 2,
      resumed: false,
      session: SESSION,
      heartbeatMs: 15_000,
      maxBodyBytes: 65_536,
    }
    return this.send(
      MESSAGE.WELCOME,
      encodeWelcome({ ...defaults, ...rest, token: utf8Encoder.encode(token) }),
    )
  }

  sendOpened(channel: number, activation: number, { mark = 0, lost = false, opening = 1 } = {}): this {
    return this.send(MESSAGE.OPENED, encodeOpened({ channel, activation, mark, lost, opening }))
  }

  sendReply(channel: number, sequence: number, n: number): this {
    return this.send(MESSAGE.REPLY, encodeReply({ channel, sequence }, msgpack.encode({ n })))
  }

  sendEvent(channel: number, sequence: number, n: number): this {
    return this.send(MESSAGE.EVENT, encodeEvent({ channel, sequence, event: 50 }, msgpack.encode({ n })))
  }

  sendError(channel: number, sequence: number, code: string, message: string = code): this {
    return this.send(MESSAGE.ERROR, encodeError({ channel, sequence, kind: 'system', code, message }))
  }

  sendResync(channel: number, events: number): this {
    return this.send(MESSAGE.RESYNC, encodeResync({ channel, events }))
  }

  /** The connection breaks. */
  disconnect(reason = 'cut'): void {
    this.events.closed(reason)
  }

  /** What the client has said since the last time, PINGs left out. */
  takeMessages(): ReceivedMessage[] {
    const messages = this.writes.flatMap(decodeMessages)
    this.writes = []
    return messages.filter(([name]) => name !== 'PING')
  }
}

function decodeMessages(bytes: Uint8Array): ReceivedMessage[] {
  const messages: ReceivedMessage[] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (message, source, start, end) =>
    messages.push(decodeMessage(message, source, start, end)),
  )
  decoder.push(bytes)
  assert.equal(decoder.bufferedBytes, 0)
  return messages
}

function decodeMessage(message: number, source: Uint8Array, start: number, end: number): ReceivedMessage {
  switch (message) {
    case MESSAGE.HELLO: {
      const { session, ticket, token } = decodeHello(source, start, end)
      return ['HELLO', session[0], utf8Decoder.decode(token), utf8Decoder.decode(ticket)]
    }
    case MESSAGE.RESUME:
      return [
        'RESUME',
        ...decodeResume(source, start, end).opens.map((open) => [
          open.channel,
          open.activation,
          open.eventAck,
          open.key,
        ]),
      ]
    case MESSAGE.OPEN: {
      const { channel, activation, eventAck, key } = decodeOpen(source, start, end)
      return ['OPEN', channel, activation, eventAck, key]
    }
    case MESSAGE.CALL: {
      const { channel, opening, sequence, command: number } = decodeCall(source, start, end)
      const { n } = msgpack.decode(source.subarray(start + CALL_BYTES, end)) as { n: number }
      return ['CALL', channel, opening, sequence, number, n]
    }
    case MESSAGE.ACK: {
      const { channel, calls, events } = decodeAck(source, start, end)
      return ['ACK', channel, calls, events]
    }
    case MESSAGE.CLOSE: {
      const { channel, code } = decodeClose(source, start, end)
      return ['CLOSE', channel, code]
    }
    case MESSAGE.PING:
      return ['PING', source.slice(start, end)]
    case MESSAGE.PONG:
      return ['PONG', [...source.subarray(start, end)]]
    default:
      return [`message ${message}`]
  }
}

export class ScriptedServer {
  readonly clock = new ManualClock()
  readonly connections: ScriptedConnection[] = []
  readonly dial: Dial = (url, events) => {
    const line = new ScriptedConnection(url, events)
    this.connections.push(line)
    return { send: (bytes) => line.writes.push(bytes), close: (leave = false) => (line.clientLeave = leave) }
  }

  /** The newest connection. */
  get connection(): ScriptedConnection {
    return this.connections.at(-1)!
  }

  /** The answer of `connect`, not awaited: the test plays the server. */
  connect(options: ConnectOptions = {}): Promise<Firefly> {
    const game = connect('ws://door.test', { clock: this.clock, dial: this.dial, ...options })
    game.catch(() => {}) // the test looks at it in its own time
    return game
  }

  /** A welcomed session, whose first words are heard. */
  async connectWelcomed(
    options: ConnectOptions = {},
    welcome: Parameters<ScriptedConnection['sendWelcome']>[0] = { token: 'one' },
  ): Promise<Firefly> {
    const game = this.connect(options)
    this.connection.events.opened()
    this.connection.sendWelcome(welcome)
    this.connection.takeMessages()
    return game
  }

  /** Runs what was deferred; the connection in hand then says what it has heard. */
  takeMessages(): ReceivedMessage[] {
    this.clock.settle()
    return this.connection.takeMessages()
  }

  /** The connection breaks, and the client dials again. */
  async reconnect(reason = 'cut'): Promise<ScriptedConnection> {
    const before = this.connections.length
    this.connection.disconnect(reason)
    this.clock.advance(5_000)
    await new Promise(setImmediate)
    assert.equal(this.connections.length, before + 1, 'dialled once more')
    this.connection.events.opened()
    return this.connection
  }
}

/** What becomes of a promise: its value, or the code of its error. */
export function outcomeOf(promise: Promise<unknown>): { now: unknown } {
  const outcome = { now: 'waits' as unknown }
  promise.then(
    (value) => (outcome.now = value),
    (error: { code?: string }) => (outcome.now = error.code ?? error),
  )
  return outcome
}

/** Lets promises tell what has become of them. */
export function settlePromises(): Promise<void> {
  return new Promise(setImmediate)
}
