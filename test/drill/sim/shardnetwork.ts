// The network between the shards of two processes: requests and answers are delayed, lost, late or duplicated. Invariant:
// every request ends, in the worst case with UNAVAILABLE, as the Directory port requires.

import type { Directory, Peer, PeerAnswer } from '../../../core/ports/directory.ts'
import type { Engine } from '../../../core/engine/engine.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import type { ProcessLifetime } from './lifetime.ts'
import type { SimEnvironment } from './environment.ts'

/** Chances of each message. */
export interface ShardNetworkFaults {
  readonly lost: number
  readonly late: number
  /** Of deliveries only: calls are not repeated. */
  readonly twice: number
}
export const NO_SHARD_NETWORK_FAULTS: ShardNetworkFaults = { lost: 0, late: 0, twice: 0 }

/** A process as the network sees it. */
export interface ShardHost {
  readonly lifetime: ProcessLifetime
  readonly visibleLifetime: ProcessLifetime
  /** Its shards cannot reach others. */
  readonly isIsolated: boolean
  readonly engine: Engine
}

export interface ShardNetworkEnvironment extends Pick<SimEnvironment, 'clock' | 'random' | 'trace' | 'reachPoint'> {
  readonly shardNetworkFaults: ShardNetworkFaults
  /** The process that serves this shard now. */
  hostOfShard(shard: ShardId): ShardHost | null
}

const LATENCY_MS = 2
const LATE_MS = 12_000
/** Time until the sender notices that no answer will arrive. */
const NOTICE_MS = 3_000
const UNAVAILABLE: PeerAnswer = { kind: 'system', code: 'UNAVAILABLE', message: 'the shard network' }

export class ShardNetwork {
  readonly #environment: ShardNetworkEnvironment

  constructor(environment: ShardNetworkEnvironment) {
    this.#environment = environment
  }

  /** The directory of one process. */
  directory(self: ShardHost, isOwn: (shard: ShardId) => boolean): Directory {
    return {
      peer: (id): Peer => ({
        call: (call) => {
          if (isOwn(id)) return self.engine.receiveCall(id, call)
          return this.#request(self, id, `calls ${call.command}`, false, ({ engine }) => engine.receiveCall(id, call))
        },
        cast: (call) => {
          if (isOwn(id)) self.engine.shard(id).calls.receivePeerCall(call, null)
        },
        deliver: (sender, cast) => {
          if (isOwn(id)) return self.engine.receiveDurableCast(id, sender, cast)
          const what = `delivers ${sender} ${cast.sequence}`
          return this.#request(self, id, what, true, ({ engine }) => engine.receiveDurableCast(id, sender, cast))
        },
      }),
    }
  }

  #request(
    self: ShardHost,
    shard: ShardId,
    what: string,
    isDelivery: boolean,
    run: (host: ShardHost) => Promise<PeerAnswer>,
  ): Promise<PeerAnswer> {
    const environment = this.#environment
    const { clock, trace, shardNetworkFaults } = environment
    const random = environment.random.shardNetwork
    const { lost, late, twice } = shardNetworkFaults
    const latencyMs = (): number => (random.chance(late) ? random.next() * LATE_MS : random.next() * LATENCY_MS)
    const { promise, resolve } = Promise.withResolvers<PeerAnswer>()
    const fail = (): void => void clock.after(random.next() * NOTICE_MS, () => resolve(UNAVAILABLE))
    const arrive = (isDuplicate: boolean): void => {
      const host = self.isIsolated ? null : environment.hostOfShard(shard)
      if (isDelivery && host) environment.reachPoint('deliver', host.lifetime)
      const receiver = host?.visibleLifetime.isOver ? null : host
      trace.add(self.lifetime.name, `${what} at ${shardName(shard)}${receiver ? '' : ': no process'}`)
      if (!receiver) return isDuplicate ? undefined : fail()
      if (!isDuplicate) receiver.visibleLifetime.onEnd(fail)
      void receiver.visibleLifetime.whileAlive(run(receiver)).then((answer) => {
        if (isDuplicate) return
        if (random.chance(lost)) fail()
        else clock.after(latencyMs(), () => resolve(answer))
      })
    }
    if (self.lifetime.isOver) return new Promise(() => {})
    if (random.chance(lost)) fail()
    else clock.after(latencyMs(), () => arrive(false))
    if (isDelivery && random.chance(twice)) clock.after(latencyMs(), () => arrive(true))
    return self.lifetime.whileAlive(promise)
  }
}
