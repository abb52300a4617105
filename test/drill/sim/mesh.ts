// How shards of two processes speak to each other: requests and answers take their time, get lost, come late, come
// twice. What is asked always ends, with UNAVAILABLE at the worst, as the Directory port promises.

import type { Directory, Peer, PeerAnswer } from '../../../core/ports/directory.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import type { Random } from '../../support/random.ts'
import type { VirtualClock } from './clock.ts'
import type { Process } from './process.ts'
import type { Trace } from './trace.ts'

export interface MeshWeather {
  readonly lost: number
  readonly late: number
  /** Of deliveries only: a call is not made twice. */
  readonly twice: number
}
export const FAIR_MESH: MeshWeather = { lost: 0, late: 0, twice: 0 }

export interface MeshOptions {
  readonly clock: VirtualClock
  readonly random: Random
  readonly trace: Trace
  readonly weather: () => MeshWeather
  /** Who serves this shard now; null = nobody. */
  readonly processOf: (shard: ShardId) => Process | null
  /** A durable cast is about to arrive. */
  readonly onDeliver: (process: Process) => void
}

const LATENCY_MS = 2
const LATE_MS = 12_000
/** Until it is noticed that no answer will come. */
const NOTICE_MS = 3_000

export class Mesh {
  readonly #options: MeshOptions

  constructor(options: MeshOptions) {
    this.#options = options
  }

  /** The directory of one process. */
  directory(self: Process, isOwn: (shard: ShardId) => boolean): Directory {
    return {
      peer: (id): Peer => ({
        call: (call) => {
          if (isOwn(id)) return self.engine.receiveCall(id, call)
          return this.#ask(self, id, `calls ${call.command}`, false, ({ engine }) =>
            engine.receiveCall(id, call),
          )
        },
        cast: (call) => {
          if (isOwn(id)) self.engine.shard(id).receivePeerCall(call, null)
        },
        deliver: (sender, cast) => {
          if (isOwn(id)) return self.engine.receiveDurableCast(id, sender, cast)
          const what = `delivers ${sender} ${cast.sequence}`
          return this.#ask(self, id, what, true, ({ engine }) => engine.receiveDurableCast(id, sender, cast))
        },
      }),
    }
  }

  #ask(
    self: Process,
    shard: ShardId,
    what: string,
    mayDouble: boolean,
    run: (process: Process) => Promise<PeerAnswer>,
  ): Promise<PeerAnswer> {
    const { clock, random, trace, weather, processOf, onDeliver } = this.#options
    const unavailable: PeerAnswer = { kind: 'system', code: 'UNAVAILABLE', message: 'the mesh' }
    const { lost, late, twice } = weather()
    const latency = (): number => (random.chance(late) ? random.next() * LATE_MS : random.next() * LATENCY_MS)
    const { promise, resolve } = Promise.withResolvers<PeerAnswer>()
    const noticed = (): void => void clock.after(random.next() * NOTICE_MS, () => resolve(unavailable))
    const arrive = (isSecond: boolean): void => {
      const found = self.isMute ? null : processOf(shard)
      if (mayDouble && found) onDeliver(found)
      const node = found?.presence.over ? null : found
      trace.add(self.life.name, `${what} at ${shardName(shard)}${node ? '' : ': nobody'}`)
      if (!node) return isSecond ? undefined : noticed()
      if (!isSecond) node.presence.onEnd(noticed)
      void node.presence.hears(run(node)).then((answer) => {
        if (isSecond) return
        if (random.chance(lost)) noticed()
        else clock.after(latency(), () => resolve(answer))
      })
    }
    if (self.life.over) return new Promise(() => {})
    if (random.chance(lost)) noticed()
    else clock.after(latency(), () => arrive(false))
    if (mayDouble && random.chance(twice)) clock.after(latency(), () => arrive(true))
    return self.life.hears(promise)
  }
}
