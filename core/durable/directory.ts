// The Directory of an object: another shard is another object, named `contract/key`, and one call is one RPC.
// Invariant: nothing is tried again here, because a call whose outcome is unknown may have taken effect.

import type { Game } from '../game/game.ts'
import type { Directory, Log, Peer, PeerAnswer, PeerCall, ShardId } from '../run/ports.ts'
import { shardName } from '../run/ports.ts'

/** What one shard's object offers the others. */
export interface ShardRpc {
  call(shard: ShardId, call: PeerCall): Promise<PeerAnswer>
  cast(shard: ShardId, call: PeerCall): Promise<void>
}

/** Shards of this object's own engine. */
export interface LocalShards {
  receive(shard: ShardId, call: PeerCall): Promise<PeerAnswer>
  accept(shard: ShardId, call: PeerCall): void
}

export class ObjectDirectory implements Directory {
  readonly #game: Game
  readonly #namespace: DurableObjectNamespace
  readonly #log: Log
  readonly #local: LocalShards
  /** The name of the shard that lives here; null until it is known. */
  own: string | null = null

  constructor(game: Game, namespace: DurableObjectNamespace, log: Log, local: LocalShards) {
    this.#game = game
    this.#namespace = namespace
    this.#log = log
    this.#local = local
  }

  peer(shard: ShardId): Peer {
    const definition = this.#game.shards.get(shard.contract)
    // A service keeps nothing, so it runs where it is called.
    if (!definition || definition.stateless || shardName(shard) === this.own) return this.#here(shard)
    return {
      call: (call) => this.#call(shard, call),
      cast: (call) => {
        this.#stub(shard)
          .cast(shard, call)
          .catch((error: unknown) => {
            this.#log.warn('a cast was lost', { shard: shardName(shard), command: call.command, error: String(error) })
          })
      },
    }
  }

  #here(shard: ShardId): Peer {
    return {
      call: (call) => this.#local.receive(shard, call),
      cast: (call) => this.#local.accept(shard, call),
    }
  }

  async #call(shard: ShardId, call: PeerCall): Promise<PeerAnswer> {
    try {
      return await this.#stub(shard).call(shard, call)
    } catch (error) {
      const code = (error as { overloaded?: boolean }).overloaded ? 'OVERLOADED' : 'UNAVAILABLE'
      return { kind: 'system', code, message: `${shardName(shard)}: ${String(error)}` }
    }
  }

  /** A new stub each time: one that saw its object's reset stays broken. */
  #stub(shard: ShardId): ShardRpc {
    return this.#namespace.get(this.#namespace.idFromName(shardName(shard))) as unknown as ShardRpc
  }
}
