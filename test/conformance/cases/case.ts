// What the cases share: waiting for promises on the host's clock, legacy frames, and sessions whose messages are
// encoded by hand. Invariant: no case waits by itself; every wait goes through the host's `waitUntil` or `sleep`.

import assert from 'node:assert/strict'
import { CallError, Refusal, type Remote } from '../../../client/index.ts'
import { EMPTY_BYTES, utf8Encoder } from '../../../core/wire/bytes.ts'
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
import { json, msgpack } from '../../../core/wire/codec.ts'
import type { Gate } from '../contracts.ts'
import type { Host, HostFeature, RawClient } from '../host.ts'

export interface Case {
  /** A statement of behaviour. */
  readonly name: string
  readonly needs?: readonly HostFeature[]
  run(host: Host): Promise<void>
}

/** The ways to end an activation, each as named in case names. */
export const END_NAMES = { evict: 'an eviction', abort: 'an abort', kill: 'a kill of the process' } as const
export type ActivationEnd = keyof typeof END_NAMES

export function endActivation(host: Host, end: ActivationEnd, contract: string, key: string): Promise<void> {
  if (end === 'kill') return host.killProcess!()
  return end === 'evict' ? host.evictShard(contract, key) : host.abortShard(contract, key)
}

const prefix = `${process.pid.toString(36)}${Date.now().toString(36)}`
let number = 0
/** A name that no other case uses, on any host, in any run. */
export function uniqueName(what = 'k'): string {
  return `${what}-${prefix}-${++number}`
}

/** Waits for a promise while the host's clock advances. */
export async function awaitOn<T>(host: Host, promise: Promise<T>, what = 'a reply'): Promise<T> {
  let isSettled = false
  const settle = (): void => void (isSettled = true)
  promise.then(settle, settle)
  await host.waitUntil(() => isSettled, what)
  return promise
}

export function awaitAllOn<T>(host: Host, promises: readonly Promise<T>[]): Promise<T[]> {
  return awaitOn(host, Promise.all(promises), 'all replies')
}

/** Returns the error with which a call failed. */
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

/** Asserts that the numbers are `first`, `first + 1`, ... */
export function assertConsecutive(numbers: readonly unknown[], first = 1): void {
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => first + i),
  )
}

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

/** One frame of the default identity; a string becomes UTF-8, any other value JSON. */
export function frame(command: number, body: Uint8Array | string | object = ''): Uint8Array {
  if (body instanceof Uint8Array) return encodeFrame(identity, command, body)
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return encodeFrame(identity, command, utf8Encoder.encode(text))
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

/** The received frames as `[command, body as text]`. */
export function texts(client: Pick<RawClient, 'frames'>): [number, string][] {
  return client.frames.map(({ command, body }) => [command, Buffer.from(body).toString()])
}

/** The received frames as `[command, JSON]`; an empty body is undefined. */
export function jsons(client: Pick<RawClient, 'frames'>): [number, unknown][] {
  return texts(client).map(([command, text]) => [command, text === '' ? undefined : JSON.parse(text)])
}

/** Waits for so many frames; returns the `texts` of all received ones. */
export async function waitForTexts(host: Host, client: RawClient, count: number): Promise<[number, string][]> {
  await host.waitUntil(() => client.frames.length >= count, `${count} frames`)
  return texts(client)
}

export async function waitForJsons(host: Host, client: RawClient, count: number): Promise<[number, unknown][]> {
  await host.waitUntil(() => client.frames.length >= count, `${count} frames`)
  return jsons(client)
}

export interface ReceivedMessages {
  readonly welcome: Welcome[]
  /** Resume tokens; only the last one is valid. */
  readonly tokens: Uint8Array[]
  readonly resyncs: Resync[]
  readonly opened: Opened[]
  readonly replies: { channel: number; sequence: number; body: Uint8Array }[]
  readonly errors: ErrorMessage[]
  readonly events: { channel: number; sequence: number; event: number; body: Uint8Array }[]
  readonly acks: { channel: number; calls: number }[]
  readonly closes: { channel: number; code: string }[]
}

/** What resumes a session. */
export interface ResumeCredentials {
  readonly session: Uint8Array
  readonly token: Uint8Array
}
const NEW_SESSION: ResumeCredentials = { session: new Uint8Array(16), token: EMPTY_BYTES }

/** A session on one connection, its messages encoded and decoded here. */
export class RawSession {
  readonly client: RawClient
  readonly #host: Host

  private constructor(host: Host, client: RawClient) {
    this.#host = host
    this.client = client
  }

  static async connect(host: Host, kind?: 'stream' | 'messages'): Promise<RawSession> {
    return new RawSession(host, await host.rawClient(kind))
  }

  sendHello({ session, token }: ResumeCredentials = NEW_SESSION, minVersion = 2, maxVersion = 2): this {
    const hello = { minVersion, maxVersion, session, ticket: EMPTY_BYTES, token }
    return this.send(MESSAGE.HELLO, encodeHello(hello))
  }

  /** A new session with a login ticket. */
  sendTicket(ticket: string): this {
    const hello = { minVersion: 2, maxVersion: 2, ...NEW_SESSION, ticket: utf8Encoder.encode(ticket) }
    return this.send(MESSAGE.HELLO, encodeHello(hello))
  }

  /** What resumes this session on the next connection. */
  get credentials(): ResumeCredentials {
    const { welcome, tokens } = this.received
    return { session: welcome[0]!.session, token: tokens.at(-1)! }
  }

  openChannel(channel: number, contract: string, key: string, activation = 0, eventAck = 0): this {
    return this.send(MESSAGE.OPEN, encodeOpen({ channel, activation, eventAck, contract, key }))
  }

  /** Opens a channel and waits for its OPENED. */
  async open(channel: number, contract: string, key: string): Promise<this> {
    this.openChannel(channel, contract, key)
    const isOpen = (): boolean => this.received.opened.some((opened) => opened.channel === channel)
    await this.#host.waitUntil(isOpen, `OPENED of channel ${channel}`)
    return this
  }

  /** Input is encoded as MessagePack unless it is bytes already. */
  sendCall(channel: number, sequence: number, command: number, input: unknown = {}, replyAck = 0): this {
    const opening = this.received.opened.findLast((opened) => opened.channel === channel)?.opening ?? 0
    return this.send(MESSAGE.CALL, encodeCallBody(channel, sequence, command, input, replyAck, opening))
  }

  /** Sends a call and returns the body of its reply. */
  async call(channel: number, sequence: number, command: number, input?: unknown): Promise<Uint8Array> {
    this.sendCall(channel, sequence, command, input)
    return this.replyBody(sequence, channel)
  }

  /** Waits for a reply and decodes it from MessagePack. */
  async reply<T>(sequence: number): Promise<T> {
    return msgpack.decode(await this.replyBody(sequence)) as T
  }

  async replyBody(sequence: number, channel = 1): Promise<Uint8Array> {
    const find = (): { body: Uint8Array } | undefined =>
      this.received.replies.find((reply) => reply.sequence === sequence && reply.channel === channel)
    await this.#host.waitUntil(() => find() !== undefined, `reply ${sequence} on channel ${channel}`)
    return find()!.body
  }

  /** Waits until there are so many messages of one kind; returns them. */
  async waitFor<K extends keyof ReceivedMessages>(kind: K, count = 1): Promise<ReceivedMessages[K]> {
    await this.#host.waitUntil(() => this.received[kind].length >= count, `${count} ${kind}`)
    return this.received[kind]
  }

  /** Waits until the connection is closed; returns the codes of the errors it received. */
  async waitForClose(): Promise<string[]> {
    await this.#host.waitUntil(() => this.client.isClosed, 'the connection is closed')
    return this.errorCodes
  }

  get errorCodes(): string[] {
    return this.received.errors.map(({ code }) => code)
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

  /** All messages received so far. */
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

/** A call with JSON bodies. */
export async function callJson(
  session: RawSession,
  channel: number,
  sequence: number,
  command: number,
  input: object = {},
): Promise<unknown> {
  return json.decode(await session.call(channel, sequence, command, json.encode(input)))
}

/** A session after WELCOME, with channel 1 open. */
export async function openRawSession(
  host: Host,
  contract: string,
  key: string,
  from?: ResumeCredentials,
): Promise<RawSession> {
  return (await RawSession.connect(host)).sendHello(from).open(1, contract, key)
}

/** Repeats a volatile call while it fails because its shard restarted. */
export async function callWithRetry<T>(host: Host, call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await awaitOn(host, call())
    } catch (error) {
      if (!(error instanceof CallError) || error.code !== 'SHARD_RESTARTED' || tries === 10) throw error
    }
  }
}

/** Repeats a request until its result is the expected one, at most 1,000 times. */
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
  throw new Error(`condition is still false after 1000 requests: ${what}`)
}

/** Waits until so many turns wait at the gate. */
export async function waitForTurnsAtGate(
  host: Host,
  gates: Remote<(typeof Gate)['entries']>,
  gate: string,
  count = 1,
): Promise<void> {
  const request = (): Promise<{ n: number }> => gates.waiting({ name: gate })
  await pollUntil(host, request, ({ n }) => n === count, `${count} turns at the gate`)
}

/** Resets the shard and waits until this client has received its next activation. */
export async function abortAndWaitForRestart(
  host: Host,
  contract: string,
  key: string,
  remote: { onRestart(listener: () => void): () => void },
): Promise<void> {
  let hasRestarted = false
  const stop = remote.onRestart(() => (hasRestarted = true))
  await host.abortShard(contract, key)
  await host.waitUntil(() => hasRestarted, 'onRestart')
  stop()
}
