// The server's end of a ServerProcess: its order, its messages, its answers. Invariant: it ends with its parent.

import { start, type RunningServer, type ServerOptions } from '../../edge/node/server.ts'
import type { Ready } from './serverprocess.ts'

export interface ProgramOptions {
  /** The parent has ended. Default: exit with 1. */
  readonly onDisconnect?: () => void
  /** Fields of the answer, by question. */
  readonly answer?: Readonly<Record<string, () => object | Promise<object>>>
}

/** The `order` of ServerProcessOptions. */
export function orderOf<Order>(): Order {
  return JSON.parse(process.argv[2]!) as Order
}

/** `sent` runs when the message has left the process. */
export function report<Message extends { readonly what: string }>(message: Message, sent: () => void = () => {}): void {
  process.send!(message, undefined, undefined, sent)
}

/** Starts the server on free ports unless the options name some, and reports `ready`. SIGTERM drains it. */
export async function serve(
  options: ServerOptions,
  { onDisconnect = () => process.exit(1), answer = {} }: ProgramOptions = {},
): Promise<RunningServer> {
  process.on('disconnect', onDisconnect)
  const server = await start({ http: 0, tcp: 0, ...options })
  process.on('SIGTERM', () => {
    void server.stop().then(() => process.exit(0))
  })
  process.on('message', (question: string) => {
    void Promise.resolve(answer[question]?.()).then((fields) => report({ ...fields, what: question }))
  })
  report({ what: 'ready', http: server.http.port, tcp: server.tcp.port } satisfies Ready)
  return server
}
