// The process of the server under attack. harness.ts starts it with the options that differ from the defaults.

import { ticketOptionsOf, type TicketEnvironment } from '../../../edge/gateway/ticket.ts'
import type { ServerOptions } from '../../../edge/node/server.ts'
import { orderOf, serve } from '../../support/serverprogram.ts'
import { cipher } from './cipher.ts'
import { IDENTITY } from './frames.ts'
import { loginGame, publicGame } from './game.ts'

/** As JSON. */
export type Overrides = Partial<Pick<ServerOptions, 'limits' | 'times' | 'secret'>> & {
  readonly requireLogin?: boolean
  readonly tickets?: TicketEnvironment
  /** The game has a cipher. */
  readonly sealed?: boolean
}
export interface HostileOrder {
  readonly dir: string
  readonly overrides: Overrides
}
/** Bytes of the server's buffers after a garbage collection. */
export interface BufferReport {
  readonly what: 'buffers'
  readonly bytes: number
}

const { dir, overrides } = orderOf<HostileOrder>()
const { requireLogin = false, tickets = {}, sealed = false, ...options } = overrides
const serverOptions: ServerOptions = {
  ...options,
  identity: IDENTITY,
  tickets: ticketOptionsOf(tickets),
  ...(sealed && { cipher }),
  game: requireLogin ? loginGame : publicGame,
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
