// Plays the server's side of a transcript for an SDK, on a manual clock: the game's calls are steps too. Invariant: the clock
// advances only while a step waits, so that a step which must not happen is not merely late.

import { isDeepStrictEqual } from 'node:util'
import { connect, type Dial, type Firefly, type SocketEvents } from '../../client/index.ts'
import { ManualClock } from '../../core/testing/memory.ts'
import type { Contract } from '../../core/wire/contract.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { MESSAGE } from '../../core/wire/message.ts'
import { Account, Counter, Room } from '../../examples/conformance/contract.ts'
import {
  decodeFrame,
  encodeTranscriptMessage,
  Inbox,
  Variables,
  type Transcript,
  type TranscriptMessage,
} from './transcript.ts'

/** The connections of the client are numbered from 1. */
export type ClientStep =
  /** The client opens its next connection. */
  | { readonly accept: number }
  | ({ readonly receive: number; readonly save?: Readonly<Record<string, string>> } & TranscriptMessage)
  | ({ readonly absent: number } & TranscriptMessage)
  | { readonly send: number; readonly messages: readonly TranscriptMessage[] }
  | { readonly cut: number }
  /** The game calls or casts; `call` names the call. */
  | {
      readonly call: string
      readonly contract: string
      readonly key: string
      readonly command: string
      readonly input: object
    }
  /** The call ends: with this output (null = a cast), or with an error of this code. */
  | { readonly result: string; readonly output?: unknown; readonly error?: string }
  | { readonly pending: string }
  /** The events that the game received since the last such step: their names and data. */
  | { readonly events: readonly (readonly [string, unknown])[] }
  /** The session has ended with this code, and the client dials no more. */
  | { readonly closed: string }

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const CONTRACTS: ReadonlyMap<string, Contract> = new Map([Account, Counter, Room].map((one) => [one.name, one]))
/** Longer than any delay before a reconnect. */
const MAX_WAIT_MS = 10_000

class ClientConnection {
  readonly #events: SocketEvents
  readonly inbox = new Inbox()
  isCut = false
  readonly #decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (command, source, start, end) => {
    const body = new Uint8Array(source.subarray(start, end))
    if (command === MESSAGE.PING) this.send(MESSAGE.PONG, body)
    const received = decodeFrame(command, body)
    if (received) this.inbox.add(received)
  })

  constructor(events: SocketEvents) {
    this.#events = events
  }

  receive(bytes: Uint8Array): void {
    this.#decoder.push(bytes)
  }

  send(command: number, body: Uint8Array): void {
    if (!this.isCut) this.#events.message(encodeFrame(identity, command, body))
  }

  cut(): void {
    this.isCut = true
    this.#events.closed('cut')
  }
}

class ClientPlayer {
  readonly clock = new ManualClock()
  readonly #variables = new Variables()
  readonly #connections: ClientConnection[] = []
  readonly #session: Promise<Firefly>
  #game: Firefly | null = null
  readonly #outcomes = new Map<string, { output?: unknown; error?: string } | null>()
  #events: (readonly [string, unknown])[] = []
  readonly #listened = new Set<string>()
  #closedCode = ''

  constructor() {
    const dial: Dial = (_url, events) => {
      const connection = new ClientConnection(events)
      this.#connections.push(connection)
      this.clock.defer(() => events.opened())
      return { send: (bytes) => connection.receive(bytes), close: () => (connection.isCut = true) }
    }
    this.#session = connect('ws://transcript.test', { clock: this.clock, dial })
    this.#session.then(
      (game) => {
        this.#game = game
        game.on('closed', ({ code }) => (this.#closedCode = code))
      },
      (error: { code?: string }) => (this.#closedCode = error.code ?? 'an error without code'),
    )
  }

  text(): string {
    return this.#connections.map(({ inbox }, i) => `${i + 1}: ${inbox.text()}`).join('\n')
  }

  async play(step: ClientStep): Promise<void> {
    if ('accept' in step) return this.#waitFor(() => this.#connections.length >= step.accept, 'a connection')
    if ('receive' in step) return this.#receive(step)
    if ('absent' in step) {
      await this.#settle()
      if (this.#connection(step.absent).inbox.has(this.#variables.substitute(messageOf(step))))
        throw new Error('it was received')
      return
    }
    if ('send' in step) {
      for (const message of step.messages)
        this.#connection(step.send).send(MESSAGE[message.message], encodeTranscriptMessage(this.#variables, message))
      return this.#settle()
    }
    if ('cut' in step) return this.#connection(step.cut).cut()
    if ('call' in step) return this.#call(step)
    if ('pending' in step) {
      await this.#settle()
      return check(this.#outcomes.get(step.pending), null)
    }
    if ('result' in step) {
      await this.#waitFor(() => this.#outcomes.get(step.result) !== null, `the end of ${step.result}`)
      const { output, error } = this.#outcomes.get(step.result)!
      return check({ output, error }, { output: step.output, error: step.error })
    }
    if ('events' in step) {
      await this.#settle()
      const events = this.#events
      this.#events = []
      return check(events, step.events)
    }
    await this.#waitFor(() => this.#closedCode !== '', 'the end of the session')
    check(this.#closedCode, step.closed)
    const before = this.#connections.length
    this.clock.advance(MAX_WAIT_MS)
    await this.#settle()
    check(this.#connections.length, before)
  }

  async #receive({ receive, save = {}, ...message }: Extract<ClientStep, { receive: number }>): Promise<void> {
    const expected = this.#variables.substitute(messageOf(message))
    let fields: Readonly<Record<string, unknown>> | undefined
    await this.#waitFor(() => {
      fields = this.#connection(receive).inbox.take(expected)?.fields
      return fields !== undefined
    }, expected.message)
    for (const [variable, field] of Object.entries(save)) this.#variables.set(variable, fields![field])
  }

  async #call({ call, contract: name, key, command, input }: Extract<ClientStep, { call: string }>): Promise<void> {
    await this.#waitFor(() => this.#game !== null, 'WELCOME')
    const contract = CONTRACTS.get(name)
    if (!contract) throw new Error(`the conformance game has no contract ${name}`)
    const remote = this.#game!.at(contract, key) as unknown as Record<
      string,
      (input: object) => Promise<unknown> | void
    >
    if (!this.#listened.has(`${name}/${key}`)) {
      this.#listened.add(`${name}/${key}`)
      const on = remote['on'] as unknown as (event: string, listener: (data: unknown) => void) => void
      for (const [event, { kind }] of Object.entries(contract.entries))
        if (kind === 'event') on(event, (data) => this.#events.push([event, structuredClone(data)]))
    }
    this.#outcomes.set(call, null)
    const result = remote[command]!(input)
    if (result === undefined) this.#outcomes.set(call, { output: null })
    else
      result.then(
        (output) => this.#outcomes.set(call, { output: structuredClone(output) }),
        (error: { code?: string }) => this.#outcomes.set(call, { error: error.code ?? 'an error without code' }),
      )
    await this.#settle()
  }

  #connection(number: number): ClientConnection {
    const connection = this.#connections[number - 1]
    if (!connection) throw new Error(`the client has opened ${this.#connections.length} connections`)
    return connection
  }

  async #settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) {
      this.clock.settle()
      await new Promise(setImmediate)
    }
  }

  async #waitFor(condition: () => boolean, what: string): Promise<void> {
    for (let waitedMs = 0; ; waitedMs += 50) {
      await this.#settle()
      if (condition()) return
      if (waitedMs >= MAX_WAIT_MS) throw new Error(`not within ${MAX_WAIT_MS} ms: ${what}`)
      this.clock.advance(50)
    }
  }
}

/** The message of a step, without what else the step says. */
function messageOf({ message, fields = {}, body }: TranscriptMessage): TranscriptMessage {
  return { message, fields, ...(body !== undefined && { body }) }
}

function check(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected))
    throw new Error(`${JSON.stringify(actual)} is not ${JSON.stringify(expected)}`)
}

/** @throws Error that names the step at which the SDK did not behave as expected */
export async function playClientTranscript({ name, steps }: Transcript<ClientStep>): Promise<void> {
  const player = new ClientPlayer()
  for (const [index, step] of steps.entries()) {
    try {
      await player.play(step)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new Error(`${name}, step ${index + 1} ${JSON.stringify(step)}: ${why}\nreceived ${player.text()}`, {
        cause: error,
      })
    }
  }
}
