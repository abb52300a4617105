// The server process of the Node host: the game under test on real sockets, with a store that can fail on request. Run
// only by nodehost.ts, which controls it over IPC and kills it.

import { start } from '../../edge/node/server.ts'
import { FaultyStore, FaultInjector, type FaultCommand } from './faultystore.ts'
import { game } from './game.ts'

/** Sent by the parent; answered with its `id`. */
export type ServerCommand = { readonly id: number } & (
  | { readonly what: 'evict' | 'abort'; readonly contract: string; readonly key: string }
  | FaultCommand
)
export type ServerReply = { readonly http: number; readonly tcp: number } | { readonly done: number }

const injector = new FaultInjector()
const [dir, http, tcp] = process.argv.slice(2)
const server = await start({
  game,
  dir: dir!,
  http: Number(http),
  tcp: Number(tcp),
  // The suite provokes many bugs, and each one is an error line.
  logLevel: 'silent',
  wrapStore: (inner) => new FaultyStore(inner, injector, async () => void process.kill(process.pid, 'SIGKILL')),
})
const sendReply = (reply: ServerReply): void => void process.send!(reply)

process.on('message', (command: ServerCommand) => void execute(command))
process.on('disconnect', () => process.exit(0))
sendReply({ http: server.http.port, tcp: server.tcp.port })

async function execute(command: ServerCommand): Promise<void> {
  const { engine } = server.host
  if ('contract' in command) {
    const { contract, key } = command
    if (command.what === 'evict') await engine.evict({ contract, key })
    else engine.shard({ contract, key }).restart()
  } else injector.apply(command)
  sendReply({ done: command.id })
}
