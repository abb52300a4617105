// The Node server of a soak.

import { orderOf, serve } from '../../support/serverprogram.ts'
import { loginGame, sessionGame, type LoginMode } from './game.ts'

export interface SoakOrder {
  readonly dir: string
  /** null: the game of the sessions; else the game of the login races. */
  readonly login: LoginMode | null
  readonly heartbeatMs: number
}

const { dir, login, heartbeatMs } = orderOf<SoakOrder>()
await serve({ game: login === null ? sessionGame : loginGame(login), dir, times: { heartbeatMs } })
