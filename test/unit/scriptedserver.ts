// A scripted server for the tests of the SDK: the test sends and inspects every message. Connections use a manual clock, so
// timers fire only when the test advances it.

import assert from 'node:assert/strict'

import { connect, type ConnectOptions, type Dial, type Firefly, type SocketEvents } from '../../client/index.ts'
import { ManualClock } from '../../core/testing/memory.ts'
import { utf8Decoder, utf8Encoder } from '../../core/wire/bytes.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { command, contract, event } from '../../core/wire/contract.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
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
  queuedStep: command(6, { n: t.u16 }, null, { offline: 'keep' }),
  failingStep: command(7, { n: t.u16 }, null, { offline: 'fail' }),
  failingAsk: command(8, { n: t.u16 }, { n: t.u16 }, { offline: 'fail' }),
  droppedAsk: command(9, { n: t.u16 }, { n: t.u16 }, { offline: 'drop' }),
  failingSave: command(10, { n: t.u16 }, { n: t.u16 }, { durable: true, offline: 'fail' }),
  moved: event(50, { n: t.u16 }),
  blob: event(51, { text: t.string(65_000) }),
})

export const SESSION = new Uint8Array(16).fill(7)
const IDENTITY = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

/** A message of the client: its name and its fields. */
export type ReceivedMessage = readonly [string, ...unknown[]]

/** The server's end of one connection. */
export class ScriptedConnection {
  readonly events: SocketEvents
  readonly url: string
  /** How the client closed it: true = permanently; null = still open. */
  clientLeave: boolean | null = null
  /** WebSocket messages of the client, one per write. */
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
    const defaults = { version: 2, resumed: false, session: SESSION, heartbeatMs: 15_000, maxBodyBytes: 65_536 }
    return this.send(MESSAGE.WELCOME, encodeWelcome({ ...defaults, ...rest, token: utf8Encoder.encode(token) }))
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

  sendError(channel: number, sequence: number, code: string, message = code, retryAfterMs?: number): this {
    const retry = retryAfterMs === undefined ? {} : { retryAfterMs }
    return this.send(MESSAGE.ERROR, encodeError({ channel, sequence, kind: 'system', code, message, ...retry }))
  }

  sendResync(channel: number, events: number): this {
    return this.send(MESSAGE.RESYNC, encodeResync({ channel, events }))
  }

  /** Closes the connection from outside. */
  disconnect(reason = 'cut'): void {
    this.events.closed(reason)
  }

  /** Returns the client's messages since the last call, without PINGs. */
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
    const connection = new ScriptedConnection(url, events)
    this.connections.push(connection)
    return {
      send: (bytes) => connection.writes.push(bytes),
      close: (leave = false) => (connection.clientLeave = leave),
    }
  }

  /** The newest connection. */
  get connection(): ScriptedConnection {
    return this.connections.at(-1)!
  }

  /** Calls `connect` of the SDK. The promise is not awaited: the test must first send WELCOME. */
  connect(options: ConnectOptions = {}): Promise<Firefly> {
    const game = connect('ws://server.test', { clock: this.clock, dial: this.dial, ...options })
    game.catch(() => {}) // the test inspects the rejection later
    return game
  }

  /** A session after WELCOME; its first messages are taken. */
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

  /** A server with a session after WELCOME. */
  static async welcomed(...args: Parameters<ScriptedServer['connectWelcomed']>) {
    const server = new ScriptedServer()
    return { server, game: await server.connectWelcomed(...args) }
  }

  /** Runs deferred functions, then returns the messages on the newest connection. */
  takeMessages(): ReceivedMessage[] {
    this.clock.settle()
    return this.connection.takeMessages()
  }

  /** Disconnects and waits for the client's next connection. */
  async reconnect(reason = 'cut'): Promise<ScriptedConnection> {
    const before = this.connections.length
    this.connection.disconnect(reason)
    this.clock.advance(5_000)
    await new Promise(setImmediate)
    assert.equal(this.connections.length, before + 1, 'one more connection')
    this.connection.events.opened()
    return this.connection
  }

  /** Waits for the next connection after the first pause of the client. */
  openNext(): void {
    this.clock.advance(200)
    this.connection.events.opened()
  }

  /** Reconnects, and accepts the session of the client. */
  async resume(): Promise<ScriptedConnection> {
    return (await this.reconnect()).sendWelcome({ resumed: true, token: 'two' })
  }
}

/** Tracks a promise: 'pending', then its value or the code of its error. */
export function outcomeOf(promise: Promise<unknown>): { now: unknown } {
  const outcome = { now: 'pending' as unknown }
  promise.then(
    (value) => (outcome.now = value),
    (error: { code?: string }) => (outcome.now = error.code ?? error),
  )
  return outcome
}

/** Waits until settled promises have run their callbacks. */
export function settlePromises(): Promise<void> {
  return new Promise(setImmediate)
}
