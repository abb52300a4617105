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

/** Shards that one shard speaks to at a time; beyond it all stubs are made anew. */
const MAX_STUBS = 1_024

export class ObjectDirectory implements Directory {
  readonly #game: Game
  readonly #namespace: DurableObjectNamespace
  readonly #log: Log
  readonly #local: LocalShards
  /** One stub for each shard that is spoken to: the platform keeps the order of calls of one stub only. */
  readonly #stubs = new Map<string, ShardRpc>()
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
      cast: (call) => void this.#cast(shard, call),
    }
  }

  #here(shard: ShardId): Peer {
    return {
      call: (call) => this.#local.receive(shard, call),
      cast: (call) => this.#local.accept(shard, call),
    }
  }

  async #call(shard: ShardId, call: PeerCall): Promise<PeerAnswer> {
    const name = shardName(shard)
    try {
      return await this.#stub(name).call(shard, call)
    } catch (error) {
      this.#stubs.delete(name)
      const code = (error as { overloaded?: boolean }).overloaded ? 'OVERLOADED' : 'UNAVAILABLE'
      return { kind: 'system', code, message: `${name}: ${String(error)}` }
    }
  }

  async #cast(shard: ShardId, call: PeerCall): Promise<void> {
    const name = shardName(shard)
    try {
      await this.#stub(name).cast(shard, call)
    } catch (error) {
      this.#stubs.delete(name)
      this.#log.warn('a cast was lost', { shard: name, command: call.command, error: String(error) })
    }
  }

  /** A stub that saw its object's reset stays broken: whoever meets an error takes it out. */
  #stub(name: string): ShardRpc {
    let stub = this.#stubs.get(name)
    if (!stub) {
      if (this.#stubs.size >= MAX_STUBS) this.#stubs.clear()
      stub = this.#namespace.get(this.#namespace.idFromName(name)) as unknown as ShardRpc
      this.#stubs.set(name, stub)
    }
    return stub
  }
}
