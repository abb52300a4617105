// Transcripts: what one side of a session sends and what the other must answer, as data (schemas/vectors/transcripts). Invariant:
// a step refers to a value of an earlier one only by a name in braces, `{token}`.

import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { hexOf } from '../../core/wire/bytes.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { MESSAGE } from '../../core/wire/message.ts'
import { decodeMessage, encodeMessage, type MessageFields, type MessageName } from '../support/vectors.ts'

/** A message: its fields as in messages.json. `body` is a payload in MessagePack, as JSON. */
export interface TranscriptMessage {
  readonly message: MessageName
  readonly fields?: MessageFields
  readonly body?: unknown
}

export interface Transcript<Step> {
  readonly name: string
  readonly steps: readonly Step[]
}

export interface ReceivedMessage {
  readonly message: MessageName
  readonly fields: MessageFields
}

export function readTranscripts<Step>(side: 'server' | 'client'): readonly Transcript<Step>[] {
  const file = new URL(`../../schemas/vectors/transcripts/${side}.json`, import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { transcripts: readonly Transcript<Step>[] }).transcripts
}

/** The values that the messages of a transcript have in common, by name. */
export class Variables {
  readonly #values: Map<string, unknown>

  constructor(values: Readonly<Record<string, unknown>> = {}) {
    this.#values = new Map(Object.entries(values))
  }

  set(name: string, value: unknown): void {
    this.#values.set(name, value)
  }

  /** Replaces `{name}`: a text that is nothing else becomes the value itself, of any type. */
  substitute<T>(value: T): T {
    if (typeof value === 'string') return this.#substituteText(value) as T
    if (Array.isArray(value)) return value.map((item: unknown) => this.substitute(item)) as T
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.substitute<unknown>(item)])) as T
  }

  #substituteText(text: string): unknown {
    const [, whole] = /^\{(\w+)\}$/.exec(text) ?? []
    return whole === undefined
      ? text.replace(/\{(\w+)\}/g, (_, name: string) => String(this.#of(name)))
      : this.#of(whole)
  }

  #of(name: string): unknown {
    if (!this.#values.has(name)) throw new Error(`the transcript uses {${name}}, which no earlier step has saved`)
    return this.#values.get(name)
  }
}

const NO_FIELDS = { HELLO: { minVersion: 2, maxVersion: 2, session: '0'.repeat(32), ticket: '', token: '' } } as const
const CALL = { opening: 0, replyAck: 0 }
const OPEN = { activation: 0, eventAck: 0 }

/** Encodes a message; fields that most messages do not need have defaults. */
export function encodeTranscriptMessage(
  variables: Variables,
  { message, fields = {}, body }: TranscriptMessage,
): Uint8Array {
  const defaults = message === 'HELLO' ? NO_FIELDS.HELLO : message === 'CALL' ? CALL : message === 'OPEN' ? OPEN : {}
  const filled = { ...defaults, ...variables.substitute(fields) }
  const payload = body === undefined ? {} : { payload: hexOf(msgpack.encode(variables.substitute(body))) }
  return encodeMessage(message, { ...filled, ...payload })
}

const NAMES = new Map(Object.entries(MESSAGE).map(([name, number]) => [number as number, name as MessageName]))

/** null = not a session message. */
export function decodeFrame(command: number, body: Uint8Array): ReceivedMessage | null {
  const message = NAMES.get(command)
  return message === undefined ? null : { message, fields: decodeMessage(message, body) }
}

/** The messages that one side of a connection has received. */
export class Inbox {
  readonly #received: ReceivedMessage[] = []
  readonly #used = new Set<ReceivedMessage>()
  /** Of the last message that was taken, by channel. */
  readonly #positions = new Map<unknown, number>()

  add(message: ReceivedMessage): void {
    this.#received.push(message)
  }

  has(expected: TranscriptMessage): boolean {
    return this.#received.some((message) => matches(message, expected))
  }

  /** Takes the first message that matches and follows the last one of its channel. */
  take(expected: TranscriptMessage): ReceivedMessage | null {
    const at = this.#received.findIndex((message, i) => {
      if (this.#used.has(message) || !matches(message, expected)) return false
      return i > (this.#positions.get(message.fields['channel']) ?? -1)
    })
    const message = this.#received[at]
    if (!message) return null
    this.#used.add(message)
    this.#positions.set(message.fields['channel'], at)
    return message
  }

  /** All messages, for an error. */
  text(): string {
    return this.#received
      .map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`)
      .join('; ')
      .slice(0, 2_000)
  }
}

/** True when the message has at least these fields and, if it is given, this body. */
function matches(received: ReceivedMessage, { message, fields = {}, body }: TranscriptMessage): boolean {
  if (received.message !== message) return false
  for (const [name, value] of Object.entries(fields)) if (!isDeepStrictEqual(received.fields[name], value)) return false
  return body === undefined || isDeepStrictEqual(bodyOf(received), body)
}

function bodyOf({ fields }: ReceivedMessage): unknown {
  const { payload } = fields
  // A plain copy: decoded maps may have another prototype.
  return typeof payload === 'string' ? structuredClone(msgpack.decode(Buffer.from(payload, 'hex'))) : undefined
}
