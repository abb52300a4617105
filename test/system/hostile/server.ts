// The server process under attack, started by harness.ts with the options in which it differs from the defaults.

import { ticketOptionsOf, type TicketEnvironment } from '../../../edge/gateway/ticket.ts'
import type { ServerOptions } from '../../../edge/node/server.ts'
import { orderOf, serve } from '../../support/serverprogram.ts'
import { cipher } from './cipher.ts'
import { IDENTITY } from './frames.ts'

/** As JSON. */
export type Overrides = Partial<Pick<ServerOptions, 'limits' | 'times' | 'secret'>> & {
  /** The file of its game. Default: game. */
  readonly game?: 'game' | 'membersgame'
  readonly tickets?: TicketEnvironment
  readonly sealed?: boolean
}
export interface HostileOrder {
  readonly dir: string
  readonly overrides: Overrides
}
/** The answer to `buffers`: bytes of its buffers after a garbage collection. */
export interface BufferReport {
  readonly what: 'buffers'
  readonly bytes: number
}

const { dir, overrides } = orderOf<HostileOrder>()
const { game = 'game', tickets = {}, sealed = false, ...options } = overrides
const { default: targetGame } = (await import(`./${game}.ts`)) as typeof import('./game.ts')
const serverOptions: ServerOptions = {
  ...options,
  identity: IDENTITY,
  tickets: ticketOptionsOf(tickets),
  ...(sealed && { cipher }),
  game: targetGame,
  dir,
  logLevel: 'silent',
}
await serve(serverOptions, {
  answer: {
    buffers: () => {
      globalThis.gc!()
      return { bytes: process.memoryUsage().external }
    },
  },
})
