// The server process of the Node host: the game under test on real sockets, with a store that can be told to fail.
// Run only by node.ts, which speaks to it by IPC and kills it.

import { start } from '../../edge/server.ts'
import { FaultyStore, Orders, type FaultOrder } from './faulty.ts'
import { game } from './game.ts'

/** Told by the parent; answered by its `id`. */
export type Order = { readonly id: number } & (
  | { readonly what: 'evict' | 'abort'; readonly contract: string; readonly key: string }
  | FaultOrder
)
export type Told = { readonly http: number; readonly tcp: number } | { readonly done: number }

const orders = new Orders()
const [dir, http, tcp] = process.argv.slice(2)
const server = await start({
  game,
  dir: dir!,
  http: Number(http),
  tcp: Number(tcp),
  // The suite makes bugs by the dozen, and each is an error line.
  logLevel: 'silent',
  wrapStore: (inner) => new FaultyStore(inner, orders, async () => void process.kill(process.pid, 'SIGKILL')),
})
const tell = (told: Told): void => void process.send!(told)

process.on('message', (order: Order) => void obey(order))
process.on('disconnect', () => process.exit(0))
tell({ http: server.http.port, tcp: server.tcp.port })

async function obey(order: Order): Promise<void> {
  const { engine } = server.host
  if ('contract' in order) {
    const { contract, key } = order
    if (order.what === 'evict') await engine.evict({ contract, key })
    else engine.shard({ contract, key }).restart()
  } else orders.obey(order)
  tell({ done: order.id })
}
