// What the cases speak with: promises on the host's time, legacy frames, and session messages by hand. No case
// waits by itself; everything goes through `host.until`.

import assert from 'node:assert/strict'
import { CallError, Refusal, type Remote } from '../../../client/index.ts'
import { DEFAULT_IDENTITY, encodeFrame, identityBytes } from '../../../core/wire/frame.ts'
import {
  decodeAck,
  decodeClose,
  decodeError,
  decodeEvent,
  decodeOpened,
  decodeReply,
  decodeResync,
  decodeToken,
  decodeWelcome,
  encodeAck,
  encodeCall,
  encodeClose,
  encodeHello,
  encodeOpen,
  EVENT_BYTES,
  MESSAGE,
  REPLY_BYTES,
  type ErrorMessage,
  type Opened,
  type Resync,
  type Welcome,
} from '../../../core/wire/message.ts'
import { msgpack } from '../../../core/wire/codec.ts'
import type { Gate } from '../contracts.ts'
import type { Host, Need, RawClient } from '../host.ts'

type GateEntries = (typeof Gate)['entries']

export interface Case {
  /** A sentence. */
  readonly name: string
  readonly needs?: readonly Need[]
  run(host: Host): Promise<void>
}

const prefix = `${process.pid.toString(36)}${Date.now().toString(36)}`
let number = 0
/** A name that no other case uses, on whatever host, in whatever run. */
export function fresh(what = 'k'): string {
  return `${what}-${prefix}-${++number}`
}

/** The value of a promise that is kept while the host's time goes on. */
export async function answer<T>(host: Host, promise: Promise<T>, what = 'an answer'): Promise<T> {
  let end: { value: T } | { error: unknown } | null = null
  promise.then(
    (value) => (end = { value }),
    (error: unknown) => (end = { error }),
  )
  await host.until(() => end !== null, what)
  const done = end as unknown as { value: T } | { error: unknown }
  if ('error' in done) throw done.error
  return done.value
}

export function answers<T>(host: Host, promises: readonly Promise<T>[], what = 'all answers'): Promise<T[]> {
  return answer(host, Promise.all(promises), what)
}

/** How a call failed: the code of its CallError or Refusal. */
export async function failure(host: Host, promise: Promise<unknown>): Promise<CallError | Refusal> {
  let value: unknown
  try {
    value = await answer(host, promise, 'a failure')
  } catch (error) {
    if (error instanceof CallError || error instanceof Refusal) return error
    throw error
  }
  throw new assert.AssertionError({ message: `expected a failure, got ${JSON.stringify(value)}` })
}

const identity = identityBytes(DEFAULT_IDENTITY)
const utf8 = new TextEncoder()

/** One frame of the default identity; a string is its UTF-8, any other value its JSON. */
export function frame(command: number, body: Uint8Array | string | object = ''): Uint8Array {
  if (body instanceof Uint8Array) return encodeFrame(identity, command, body)
  return encodeFrame(identity, command, utf8.encode(typeof body === 'string' ? body : JSON.stringify(body)))
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

/** What came, as `[command, body as text]`. */
export function texts(client: RawClient): [number, string][] {
  return client.frames.map(({ command, body }) => [command, Buffer.from(body).toString()])
}

/** What came, as `[command, JSON]`; an empty body is undefined. */
export function jsons(client: RawClient): [number, unknown][] {
  return texts(client).map(([command, text]) => [command, text === '' ? undefined : JSON.parse(text)])
}

export interface Said {
  readonly welcome: Welcome[]
  /** Resume tokens, the last one is the good one. */
  readonly tokens: Uint8Array[]
  readonly resyncs: Resync[]
  readonly opened: Opened[]
  readonly replies: { channel: number; sequence: number; body: Uint8Array }[]
  readonly errors: ErrorMessage[]
  readonly events: { channel: number; sequence: number; event: number; body: Uint8Array }[]
  readonly acks: { channel: number; calls: number }[]
  readonly closes: { channel: number; code: string }[]
}

/** What opens a session again. */
export interface Return {
  readonly session: Uint8Array
  readonly token: Uint8Array
}
const STRANGER: Return = { session: new Uint8Array(16), token: new Uint8Array(0) }

/** A session spoken by hand. */
export class Speaker {
  readonly client: RawClient
  constructor(client: RawClient) {
    this.client = client
  }

  hello({ session, token }: Return = STRANGER, minVersion = 2, maxVersion = 2): this {
    const hello = { minVersion, maxVersion, session, ticket: new Uint8Array(0), token }
    return this.say(MESSAGE.HELLO, encodeHello(hello))
  }

  /** A new session with a login ticket. */
  show(ticket: string): this {
    const hello = { minVersion: 2, maxVersion: 2, ...STRANGER, ticket: utf8.encode(ticket) }
    return this.say(MESSAGE.HELLO, encodeHello(hello))
  }

  /** What its session shows on the next connection. */
  get return(): Return {
    const { welcome, tokens } = this.said
    return { session: welcome[0]!.session, token: tokens.at(-1)! }
  }

  open(channel: number, contract: string, key: string, activation = 0, eventAck = 0): this {
    return this.say(MESSAGE.OPEN, encodeOpen({ channel, activation, eventAck, contract, key }))
  }

  /** Input is packed unless it is bytes already. */
  call(channel: number, sequence: number, command: number, input: unknown = {}, replyAck = 0): this {
    const opening = this.said.opened.findLast((opened) => opened.channel === channel)?.opening ?? 0
    return this.say(MESSAGE.CALL, callBody(channel, sequence, command, input, replyAck, opening))
  }

  ack(channel: number, calls: number, events = 0): this {
    return this.say(MESSAGE.ACK, encodeAck({ channel, calls, events }))
  }

  end(channel: number): this {
    return this.say(MESSAGE.CLOSE, encodeClose({ channel, code: 'CLOSED' }))
  }

  say(message: number, body: Uint8Array): this {
    this.client.send(frame(message, body))
    return this
  }

  /** All that was said to it so far. */
  get said(): Said {
    const said: Said = {
      welcome: [],
      tokens: [],
      resyncs: [],
      opened: [],
      replies: [],
      errors: [],
      events: [],
      acks: [],
      closes: [],
    }
    for (const { command, body } of this.client.frames) {
      const end = body.length
      if (command === MESSAGE.WELCOME) {
        const welcome = decodeWelcome(body, 0, end)
        said.welcome.push(welcome)
        said.tokens.push(welcome.token)
      } else if (command === MESSAGE.TOKEN) said.tokens.push(decodeToken(body, 0, end).token)
      else if (command === MESSAGE.RESYNC) said.resyncs.push(decodeResync(body, 0, end))
      else if (command === MESSAGE.OPENED) said.opened.push(decodeOpened(body, 0, end))
      else if (command === MESSAGE.REPLY) {
        said.replies.push({ ...decodeReply(body, 0, end), body: body.subarray(REPLY_BYTES) })
      } else if (command === MESSAGE.EVENT) {
        said.events.push({ ...decodeEvent(body, 0, end), body: body.subarray(EVENT_BYTES) })
      } else if (command === MESSAGE.ERROR) said.errors.push(decodeError(body, 0, end))
      else if (command === MESSAGE.ACK) said.acks.push(decodeAck(body, 0, end))
      else if (command === MESSAGE.CLOSE) said.closes.push(decodeClose(body, 0, end))
    }
    return said
  }

  /** The decoded reply of a call. */
  reply(sequence: number): unknown {
    const found = this.said.replies.find((reply) => reply.sequence === sequence)
    return found && msgpack.decode(found.body)
  }
}

export function callBody(
  channel: number,
  sequence: number,
  command: number,
  input: unknown,
  replyAck = 0,
  opening = 0,
): Uint8Array {
  const body = input instanceof Uint8Array ? input : msgpack.encode(input)
  return encodeCall({ channel, opening, sequence, replyAck, command }, body)
}

/** The answer of a volatile call in the end: a restart that it meets only delays it. */
export async function insist<T>(host: Host, call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await answer(host, call())
    } catch (error) {
      if (!(error instanceof CallError) || error.code !== 'SHARD_RESTARTED' || tries === 10) throw error
    }
  }
}

/** Asks again and again, on the host's time, until the answer is good; not for ever. */
export async function eventually<T>(
  host: Host,
  ask: () => Promise<T>,
  good: (value: T) => boolean,
  what: string,
): Promise<T> {
  for (let tries = 0; tries < 1_000; tries++) {
    const value = await insist(host, ask)
    if (good(value)) return value
    await host.pass(tries < 100 ? 1 : 10)
  }
  throw new Error(`never came: ${what}`)
}

/** So many turns wait at the gate. */
export async function waiting(
  host: Host,
  gates: Remote<GateEntries>,
  gate: string,
  count = 1,
): Promise<void> {
  const ask = (): Promise<{ n: number }> => gates.waiting({ name: gate })
  await eventually(host, ask, ({ n }) => n === count, `${count} turns at the gate`)
}

/** Resets the shard and waits until this client has heard of its next life. */
export async function reset(host: Host, contract: string, key: string, remote: Restarting): Promise<void> {
  let reborn = false
  const stop = remote.onRestart(() => (reborn = true))
  await host.abort(contract, key)
  await host.until(() => reborn, 'onRestart')
  stop()
}
interface Restarting {
  onRestart(listener: () => void): () => void
}

/** A welcomed session with channel 1 open. */
export async function speak(host: Host, contract: string, key: string, from?: Return): Promise<Speaker> {
  const speaker = new Speaker(await host.raw())
  speaker.hello(from).open(1, contract, key)
  await host.until(() => speaker.said.opened.some((opened) => opened.channel === 1), 'WELCOME and OPENED')
  return speaker
}
