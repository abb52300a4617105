// What the cases speak with: promises on the host's time, legacy frames, and session messages by hand. No case
// waits by itself; everything goes through `host.until`.

import assert from 'node:assert/strict'
import { CallError, Refusal, type Remote } from '../../../client/index.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../../core/wire/frame.ts'
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
import type { Host, HostFeature, RawClient } from '../host.ts'

type GateEntries = (typeof Gate)['entries']

export interface Case {
  /** A sentence. */
  readonly name: string
  readonly needs?: readonly HostFeature[]
  run(host: Host): Promise<void>
}

const prefix = `${process.pid.toString(36)}${Date.now().toString(36)}`
let number = 0
/** A name that no other case uses, on whatever host, in whatever run. */
export function uniqueName(what = 'k'): string {
  return `${what}-${prefix}-${++number}`
}

/** The value of a promise that is kept while the host's time goes on. */
export async function awaitOn<T>(host: Host, promise: Promise<T>, what = 'an answer'): Promise<T> {
  let result: { value: T } | { error: unknown } | null = null
  promise.then(
    (value) => (result = { value }),
    (error: unknown) => (result = { error }),
  )
  await host.waitUntil(() => result !== null, what)
  const done = result as unknown as { value: T } | { error: unknown }
  if ('error' in done) throw done.error
  return done.value
}

export function awaitAllOn<T>(host: Host, promises: readonly Promise<T>[], what = 'all answers'): Promise<T[]> {
  return awaitOn(host, Promise.all(promises), what)
}

/** How a call failed: the code of its CallError or Refusal. */
export async function awaitFailure(host: Host, promise: Promise<unknown>): Promise<CallError | Refusal> {
  let value: unknown
  try {
    value = await awaitOn(host, promise, 'a failure')
  } catch (error) {
    if (error instanceof CallError || error instanceof Refusal) return error
    throw error
  }
  throw new assert.AssertionError({ message: `expected a failure, got ${JSON.stringify(value)}` })
}

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
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

export interface ReceivedMessages {
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
export interface ResumeCredentials {
  readonly session: Uint8Array
  readonly token: Uint8Array
}
const NEW_SESSION: ResumeCredentials = { session: new Uint8Array(16), token: new Uint8Array(0) }

/** A session spoken by hand. */
export class RawSession {
  readonly client: RawClient
  constructor(client: RawClient) {
    this.client = client
  }

  sendHello({ session, token }: ResumeCredentials = NEW_SESSION, minVersion = 2, maxVersion = 2): this {
    const hello = { minVersion, maxVersion, session, ticket: new Uint8Array(0), token }
    return this.send(MESSAGE.HELLO, encodeHello(hello))
  }

  /** A new session with a login ticket. */
  helloWithTicket(ticket: string): this {
    const hello = { minVersion: 2, maxVersion: 2, ...NEW_SESSION, ticket: utf8.encode(ticket) }
    return this.send(MESSAGE.HELLO, encodeHello(hello))
  }

  /** What its session shows on the next connection. */
  get credentials(): ResumeCredentials {
    const { welcome, tokens } = this.received
    return { session: welcome[0]!.session, token: tokens.at(-1)! }
  }

  openChannel(channel: number, contract: string, key: string, activation = 0, eventAck = 0): this {
    return this.send(MESSAGE.OPEN, encodeOpen({ channel, activation, eventAck, contract, key }))
  }

  /** Input is packed unless it is bytes already. */
  sendCall(channel: number, sequence: number, command: number, input: unknown = {}, replyAck = 0): this {
    const opening = this.received.opened.findLast((opened) => opened.channel === channel)?.opening ?? 0
    return this.send(MESSAGE.CALL, encodeCallBody(channel, sequence, command, input, replyAck, opening))
  }

  sendAck(channel: number, calls: number, events = 0): this {
    return this.send(MESSAGE.ACK, encodeAck({ channel, calls, events }))
  }

  closeChannel(channel: number): this {
    return this.send(MESSAGE.CLOSE, encodeClose({ channel, code: 'CLOSED' }))
  }

  send(message: number, body: Uint8Array): this {
    this.client.send(frame(message, body))
    return this
  }

  /** All that was said to it so far. */
  get received(): ReceivedMessages {
    const received: ReceivedMessages = {
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
        received.welcome.push(welcome)
        received.tokens.push(welcome.token)
      } else if (command === MESSAGE.TOKEN) received.tokens.push(decodeToken(body, 0, end).token)
      else if (command === MESSAGE.RESYNC) received.resyncs.push(decodeResync(body, 0, end))
      else if (command === MESSAGE.OPENED) received.opened.push(decodeOpened(body, 0, end))
      else if (command === MESSAGE.REPLY) {
        received.replies.push({ ...decodeReply(body, 0, end), body: body.subarray(REPLY_BYTES) })
      } else if (command === MESSAGE.EVENT) {
        received.events.push({ ...decodeEvent(body, 0, end), body: body.subarray(EVENT_BYTES) })
      } else if (command === MESSAGE.ERROR) received.errors.push(decodeError(body, 0, end))
      else if (command === MESSAGE.ACK) received.acks.push(decodeAck(body, 0, end))
      else if (command === MESSAGE.CLOSE) received.closes.push(decodeClose(body, 0, end))
    }
    return received
  }

  /** The decoded reply of a call. */
  decodedReply(sequence: number): unknown {
    const found = this.received.replies.find((reply) => reply.sequence === sequence)
    return found && msgpack.decode(found.body)
  }
}

export function encodeCallBody(
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
export async function callWithRetry<T>(host: Host, call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await awaitOn(host, call())
    } catch (error) {
      if (!(error instanceof CallError) || error.code !== 'SHARD_RESTARTED' || tries === 10) throw error
    }
  }
}

/** Asks again and again, on the host's time, until the answer is good; not for ever. */
export async function pollUntil<T>(
  host: Host,
  request: () => Promise<T>,
  isExpected: (value: T) => boolean,
  what: string,
): Promise<T> {
  for (let tries = 0; tries < 1_000; tries++) {
    const value = await callWithRetry(host, request)
    if (isExpected(value)) return value
    await host.sleep(tries < 100 ? 1 : 10)
  }
  throw new Error(`never came: ${what}`)
}

/** So many turns wait at the gate. */
export async function waitForTurnsAtGate(
  host: Host,
  gates: Remote<GateEntries>,
  gate: string,
  count = 1,
): Promise<void> {
  const ask = (): Promise<{ n: number }> => gates.waiting({ name: gate })
  await pollUntil(host, ask, ({ n }) => n === count, `${count} turns at the gate`)
}

/** Resets the shard and waits until this client has heard of its next life. */
export async function abortAndWaitForRestart(
  host: Host,
  contract: string,
  key: string,
  remote: RestartSource,
): Promise<void> {
  let hasRestarted = false
  const stop = remote.onRestart(() => (hasRestarted = true))
  await host.abortShard(contract, key)
  await host.waitUntil(() => hasRestarted, 'onRestart')
  stop()
}
interface RestartSource {
  onRestart(listener: () => void): () => void
}

/** A welcomed session with channel 1 open. */
export async function openRawSession(
  host: Host,
  contract: string,
  key: string,
  from?: ResumeCredentials,
): Promise<RawSession> {
  const rawSession = new RawSession(await host.rawClient())
  rawSession.sendHello(from).openChannel(1, contract, key)
  await host.waitUntil(() => rawSession.received.opened.some((opened) => opened.channel === 1), 'WELCOME and OPENED')
  return rawSession
}
