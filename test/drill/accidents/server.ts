// The Node server of the accidents.

import { critical as criticalGame } from '../../../core/game/game.ts'
import type { ServerOptions } from '../../../edge/node/server.ts'
import { orderOf, serve } from '../../support/serverprogram.ts'
import { game } from './game.ts'

export interface NodeOrder {
  readonly dir: string
  /** Options of the server that JSON can carry: limits, times, mysql, … */
  readonly options?: Partial<Omit<ServerOptions, 'game' | 'dir'>>
  /** Every table is of class critical. Default false. */
  readonly critical?: boolean
}

/** The answer to 'memory'. */
export type ServerMessage = { readonly what: 'memory'; readonly rssBytes: number }

const { dir, options, critical = false } = orderOf<NodeOrder>()
await serve(
  { ...options, game: critical ? criticalGame(game) : game, dir },
  { answer: { memory: () => ({ rssBytes: process.memoryUsage.rss() }) } },
)
