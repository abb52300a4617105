// The server process of the Node host: the game under test on real sockets, with a store that can be told to fail.
// Run only by node.ts, which speaks to it by IPC and kills it.

import { shardName, type Outcome, type ShardId, type Store, type WriteSet } from '../../core/run/ports.ts'
import { start } from '../../edge/server.ts'
import { game } from './game.ts'

/** Told by the parent; answered by its `id`. */
export type Order = { readonly id: number } & (
  | { readonly what: 'evict' | 'abort'; readonly contract: string; readonly key: string }
  | { readonly what: 'next'; readonly kinds: ('failed' | 'applied' | 'dropped')[] }
  | { readonly what: 'hold' | 'release' }
)
export type Told = { readonly http: number; readonly tcp: number } | { readonly done: number }

class FaultyStore implements Store {
  readonly #inner: Store
  readonly faults: ('failed' | 'applied' | 'dropped')[] = []
  /** Activations that had a commit which did not happen: what comes behind it must not happen either. */
  readonly #fences = new Map<string, number>()
  held: Promise<void> | null = null

  constructor(inner: Store) {
    this.#inner = inner
  }

  open(shard: ShardId): ReturnType<Store['open']> {
    return this.#inner.open(shard)
  }
  channel(shard: ShardId, channel: string): ReturnType<Store['channel']> {
    return this.#inner.channel(shard, channel)
  }

  async commit(write: WriteSet): Promise<Outcome> {
    const name = shardName(write.shard)
    const fault = this.faults.shift()
    if (fault === 'failed' || fault === 'dropped') this.#fences.set(name, write.activation)
    if ((this.#fences.get(name) ?? 0) >= write.activation) {
      return {
        kind: fault === 'dropped' ? 'unknown' : 'failed',
        cause: new Error('the suite refuses this commit'),
      }
    }
    const { held } = this
    const outcome = await this.#inner.commit(write)
    await held
    if (outcome.kind === 'committed' && write.kv?.get('doom')) process.kill(process.pid, 'SIGKILL')
    if (fault === 'applied') return { kind: 'unknown', cause: new Error('the suite loses this answer') }
    return outcome
  }
}

let store: FaultyStore | null = null
let release = (): void => {}
const [dir, http, tcp] = process.argv.slice(2)
const server = await start({
  game,
  dir: dir!,
  http: Number(http),
  tcp: Number(tcp),
  // The suite makes bugs by the dozen, and each is an error line.
  logLevel: 'silent',
  wrapStore: (inner) => (store = new FaultyStore(inner)),
})
const tell = (told: Told): void => void process.send!(told)

process.on('message', (order: Order) => void obey(order))
process.on('disconnect', () => process.exit(0))
tell({ http: server.http.port, tcp: server.tcp.port })

async function obey(order: Order): Promise<void> {
  const { engine } = server.host
  if (order.what === 'evict') await engine.evict({ contract: order.contract, key: order.key })
  else if (order.what === 'abort') engine.shard({ contract: order.contract, key: order.key }).restart()
  else if (order.what === 'next') store!.faults.push(...order.kinds)
  else if (order.what === 'hold') {
    const { promise, resolve } = Promise.withResolvers<void>()
    store!.held = promise
    release = resolve
  } else {
    store!.held = null
    release()
  }
  tell({ done: order.id })
}
