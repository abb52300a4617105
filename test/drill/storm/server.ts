// The Node server of the storm.

import { orderOf, serve } from '../../support/serverprogram.ts'
import { game } from './game.ts'

export interface StormOrder {
  readonly dir: string
}

/** The answer to 'usage': of the process since its start. */
export type StormMessage = { readonly what: 'usage'; readonly cpuMs: number; readonly rssBytes: number }

const { dir } = orderOf<StormOrder>()
await serve(
  { game, dir },
  {
    answer: {
      usage: () => {
        const { user, system } = process.cpuUsage()
        return { cpuMs: (user + system) / 1_000, rssBytes: process.memoryUsage.rss() }
      },
    },
  },
)
