// The Node server of a soak. It does not outlive the drill.

import { start } from '../../../edge/node/server.ts'
import { game } from './game.ts'
import { loginGame, type LoginMode } from './logingame.ts'

/** How a server is started, as JSON in its only argument. */
export interface ServerOrder {
  readonly dir: string
  /** null: the game of the sessions; else that of the logins. */
  readonly login: LoginMode | null
  readonly heartbeatMs: number
}
/** Its ports. */
export interface Told {
  readonly http: number
  readonly tcp: number
}

const order = JSON.parse(process.argv[2]!) as ServerOrder
const server = await start({
  game: order.login === null ? game : loginGame(order.login),
  dir: order.dir,
  http: 0,
  tcp: 0,
  times: { heartbeatMs: order.heartbeatMs },
})
process.on('disconnect', () => process.exit(1))
process.on('SIGTERM', () => {
  void server.stop().then(() => process.exit(0))
})
process.send!({ http: server.http.port, tcp: server.tcp.port } satisfies Told)
