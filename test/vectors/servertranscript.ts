// Plays the client's side of a transcript against a server that serves examples/conformance. Invariant: every wait has a
// deadline, after which the error names the step and what was received instead.

import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../core/wire/frame.ts'
import { MESSAGE } from '../../core/wire/message.ts'
import { tcpClient, waitUntil, webSocketClient, type LegacyClient } from '../support/sockets.ts'
import {
  decodeFrame,
  encodeTranscriptMessage,
  Inbox,
  Variables,
  type ReceivedMessage,
  type Transcript,
  type TranscriptMessage,
} from './transcript.ts'

/** Connections have names. Messages of one channel are expected in their order; a PING of the server is answered at once. */
export type ServerStep =
  | { readonly connect: string }
  /** In one write. */
  | { readonly send: string; readonly messages: readonly TranscriptMessage[] }
  /** `save`: variables from fields of the message. */
  | ({ readonly expect: string; readonly save?: Readonly<Record<string, string>> } & TranscriptMessage)
  /** No such message has been received on the connection. */
  | ({ readonly absent: string } & TranscriptMessage)
  /** The server closes, with this reason in an ERROR of channel 0. */
  | { readonly expectClose: string; readonly reason: string }
  /** The connection breaks, without a close frame. */
  | { readonly cut: string }

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

class Connection {
  readonly #client: LegacyClient
  readonly inbox = new Inbox()

  constructor(client: LegacyClient) {
    this.#client = client
  }

  get isClosed(): boolean {
    return this.#client.isClosed
  }

  send(frames: readonly Uint8Array[]): void {
    this.#client.send(new Uint8Array(Buffer.concat(frames)))
  }

  cut(): void {
    this.#client.close()
  }

  /** Decodes new frames, and answers PINGs. */
  poll(): void {
    for (const { command, body } of this.#client.frames.splice(0)) {
      if (command === MESSAGE.PING) this.send([encodeFrame(identity, MESSAGE.PONG, body)])
      const received = decodeFrame(command, body)
      if (received) this.inbox.add(received)
    }
  }

  take(expected: TranscriptMessage): ReceivedMessage | null {
    this.poll()
    return this.inbox.take(expected)
  }
}

function dial(url: string): Promise<LegacyClient> {
  const { protocol, hostname, port } = new URL(url)
  if (protocol === 'tcp:') return tcpClient(hostname.replace(/^\[|\]$/g, ''), Number(port))
  if (protocol === 'ws:' || protocol === 'wss:') return webSocketClient(url)
  throw new Error(`url ${url} is not tcp://host:port or ws://host:port/ws`)
}

/** @throws Error that names the step which the server did not answer as expected */
export async function playServerTranscript(url: string, { name, steps }: Transcript<ServerStep>): Promise<void> {
  const run = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`
  const variables = new Variables({ run })
  const connections = new Map<string, Connection>()
  const connectionOf = (peer: string): Connection => {
    const connection = connections.get(peer)
    if (!connection) throw new Error(`connection ${peer} is not open`)
    return connection
  }
  try {
    for (const [index, step] of steps.entries()) {
      try {
        if ('connect' in step) connections.set(step.connect, new Connection(await dial(url)))
        else await playStep(step, variables, connectionOf)
      } catch (error) {
        const received = [...connections].map(([peer, connection]) => `${peer}: ${listOf(connection)}`)
        const why = error instanceof Error ? error.message : String(error)
        throw new Error(`${name}, step ${index + 1} ${JSON.stringify(step)}: ${why}\nreceived ${received.join('\n')}`, {
          cause: error,
        })
      }
    }
  } finally {
    for (const connection of connections.values()) connection.cut()
  }
}

async function playStep(
  step: Exclude<ServerStep, { readonly connect: string }>,
  variables: Variables,
  connectionOf: (peer: string) => Connection,
): Promise<void> {
  if ('send' in step) {
    const frames = step.messages.map((message) => [message, encodeTranscriptMessage(variables, message)] as const)
    return connectionOf(step.send).send(
      frames.map(([{ message }, body]) => encodeFrame(identity, MESSAGE[message], body)),
    )
  }
  if ('cut' in step) return connectionOf(step.cut).cut()
  if ('expectClose' in step) {
    const connection = connectionOf(step.expectClose)
    await waitUntil(() => connection.isClosed, `the close ${step.reason}`)
    const error = { message: 'ERROR', fields: { channel: 0, sequence: 0, code: step.reason } } as const
    if (!connection.take(error)) throw new Error(`no ERROR of channel 0 with ${step.reason} before the close`)
    return
  }
  if ('absent' in step) {
    const connection = connectionOf(step.absent)
    connection.poll()
    const expected = variables.substitute({ message: step.message, fields: step.fields ?? {}, body: step.body })
    if (connection.inbox.has(expected)) throw new Error('it was received')
    return
  }
  const connection = connectionOf(step.expect)
  const expected = variables.substitute({ message: step.message, fields: step.fields ?? {}, body: step.body })
  const message = await receive(connection, expected)
  for (const [variable, field] of Object.entries(step.save ?? {})) variables.set(variable, message.fields[field])
}

async function receive(connection: Connection, expected: TranscriptMessage): Promise<ReceivedMessage> {
  const found: ReceivedMessage[] = []
  const isOver = (): boolean => {
    const isClosed = connection.isClosed
    const message = connection.take(expected)
    if (message) found.push(message)
    return isClosed || found.length > 0
  }
  await waitUntil(isOver, expected.message)
  if (!found[0]) throw new Error('the connection was closed')
  return found[0]
}

function listOf({ inbox, isClosed }: Connection): string {
  return `${inbox.text()}${isClosed ? '; closed' : ''}`
}
