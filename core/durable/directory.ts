// The Directory of an object: another shard is another object, named `contract/key`, and one call is one RPC.
// Invariant: nothing is tried again here, because a call whose outcome is unknown may have taken effect.

import type { Directory, Log, Peer, PeerAnswer, PeerCall, ShardId, StoredCast } from '../run/ports.ts'
import { shardName } from '../run/ports.ts'

/** What one shard's object offers the others. */
export interface ShardRpc {
  call(shard: ShardId, call: PeerCall): Promise<PeerAnswer>
  cast(shard: ShardId, call: PeerCall): Promise<void>
  deliver(shard: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer>
}

/** Shards of this object's own engine. */
export interface LocalShards {
  receive(shard: ShardId, call: PeerCall): Promise<PeerAnswer>
  accept(shard: ShardId, call: PeerCall): void
  deliver(shard: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer>
}

/**
 * The platform keeps the order of calls of one stub only, but a stub that saw its object's reset stays broken. So a
 * stub is shared by what is under way to one shard, and never kept longer.
 */
interface Way {
  readonly stub: ShardRpc
  underWay: number
}

export class ObjectDirectory implements Directory {
  /** A service keeps nothing, so it runs where it is called. */
  readonly #isLocal: (contract: string) => boolean
  readonly #namespace: DurableObjectNamespace
  readonly #log: Log
  readonly #local: LocalShards
  readonly #ways = new Map<string, Way>()
  /** The name of the shard that lives here; null until it is known. */
  own: string | null = null

  constructor(
    isLocal: (contract: string) => boolean,
    namespace: DurableObjectNamespace,
    log: Log,
    local: LocalShards,
  ) {
    this.#isLocal = isLocal
    this.#namespace = namespace
    this.#log = log
    this.#local = local
  }

  peer(shard: ShardId): Peer {
    if (this.#isLocal(shard.contract) || shardName(shard) === this.own) return this.#here(shard)
    return {
      call: (call) => this.#ask(shard, (stub) => stub.call(shard, call)),
      cast: (call) => void this.#cast(shard, call),
      deliver: (sender, cast) => this.#ask(shard, (stub) => stub.deliver(shard, sender, cast)),
    }
  }

  #here(shard: ShardId): Peer {
    return {
      call: (call) => this.#local.receive(shard, call),
      cast: (call) => this.#local.accept(shard, call),
      deliver: (sender, cast) => this.#local.deliver(shard, sender, cast),
    }
  }

  async #ask(shard: ShardId, ask: (stub: ShardRpc) => Promise<PeerAnswer>): Promise<PeerAnswer> {
    const name = shardName(shard)
    const way = this.#take(name)
    try {
      return await ask(way.stub)
    } catch (error) {
      this.#ways.delete(name)
      const code = (error as { overloaded?: boolean }).overloaded ? 'OVERLOADED' : 'UNAVAILABLE'
      return { kind: 'system', code, message: `${name}: ${String(error)}` }
    } finally {
      this.#give(name, way)
    }
  }

  async #cast(shard: ShardId, call: PeerCall): Promise<void> {
    const name = shardName(shard)
    const way = this.#take(name)
    try {
      await way.stub.cast(shard, call)
    } catch (error) {
      this.#ways.delete(name)
      this.#log.warn('a cast was lost', { shard: name, command: call.command, error: String(error) })
    } finally {
      this.#give(name, way)
    }
  }

  #take(name: string): Way {
    let way = this.#ways.get(name)
    if (!way) {
      const stub = this.#namespace.get(this.#namespace.idFromName(name)) as unknown as ShardRpc
      way = { stub, underWay: 0 }
      this.#ways.set(name, way)
    }
    way.underWay++
    return way
  }

  #give(name: string, way: Way): void {
    if (--way.underWay === 0 && this.#ways.get(name) === way) this.#ways.delete(name)
  }
}
