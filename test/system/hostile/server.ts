// The server process under attack. Run only by stage.ts, which gives it a data folder and the options in which it
// differs from the defaults, and hears its ports.

import type { FrameIdentity } from '../../../core/wire/frame.ts'
import { start, type ServerOptions } from '../../../edge/node/server.ts'
import { ticketOptionsOf, type TicketEnvironment } from '../../../edge/gateway/ticket.ts'
import { cipher } from './cipher.ts'

/** As JSON. */
export type Overrides = Partial<Pick<ServerOptions, 'limits' | 'times' | 'secret'>> & {
  /** The file of its game. Default: game. */
  readonly game?: 'game' | 'membersgame'
  readonly tickets?: TicketEnvironment
  readonly sealed?: boolean
}
export interface ListenPorts {
  readonly http: number
  readonly tcp: number
}

const [dir, identity, overrides] = process.argv.slice(2)
const { game = 'game', tickets = {}, sealed = false, ...options } = JSON.parse(overrides!) as Overrides
const { default: targetGame } = (await import(`./${game}.ts`)) as typeof import('./game.ts')
const server = await start({
  ...options,
  identity: JSON.parse(identity!) as FrameIdentity,
  tickets: ticketOptionsOf(tickets),
  ...(sealed && { cipher }),
  game: targetGame,
  dir: dir!,
  http: 0,
  tcp: 0,
  logLevel: 'silent',
})
process.on('disconnect', () => process.exit(0))
// Any message asks for what is left of its buffers after a collection of garbage.
process.on('message', () => {
  globalThis.gc!()
  process.send!(process.memoryUsage().external)
})
process.send!({ http: server.http.port, tcp: server.tcp.port } satisfies ListenPorts)
