// The Directory port of a Durable Object: another shard is the object named `contract/key`, and one call is one RPC.
// Invariant: no call is retried here, because a call with an unknown outcome may have taken effect.

import { systemError, type Directory, type Peer, type PeerAnswer, type PeerCall } from '../ports/directory.ts'
import type { Log } from '../ports/log.ts'
import type { StoredCast } from '../ports/store.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'

/** The RPC methods of a shard's object, for other shards. */
export interface ShardRpc {
  call(shard: ShardId, call: PeerCall): Promise<PeerAnswer>
  cast(shard: ShardId, call: PeerCall): Promise<void>
  deliver(shard: ShardId, sender: string, cast: StoredCast): Promise<PeerAnswer>
}

type ShardNamespace = DurableObjectNamespace<ShardRpc & Rpc.DurableObjectBranded>

/**
 * The platform keeps the order of calls only within one stub, but a stub stays broken after its object was reset. So a
 * stub is shared by the pending calls to one shard, and released after the last of them.
 */
interface SharedStub {
  readonly stub: ShardRpc
  pendingCalls: number
}

export class ObjectDirectory implements Directory {
  /** A service has no state, so it runs in the calling object. */
  readonly #isLocal: (contract: string) => boolean
  readonly #namespace: ShardNamespace
  readonly #log: Log
  /** Shards of this object's own engine. */
  readonly #localPeer: (shard: ShardId) => Peer
  readonly #stubs = new Map<string, SharedStub>()
  /** The name of this object's shard; null until it is known. */
  #ownName: string | null = null

  constructor(
    isLocal: (contract: string) => boolean,
    namespace: DurableObjectNamespace,
    log: Log,
    localPeer: (shard: ShardId) => Peer,
  ) {
    this.#isLocal = isLocal
    this.#namespace = namespace as ShardNamespace
    this.#log = log
    this.#localPeer = localPeer
  }

  setOwnName(name: string): void {
    this.#ownName = name
  }

  peer(shard: ShardId): Peer {
    if (this.#isLocal(shard.contract) || shardName(shard) === this.#ownName) return this.#localPeer(shard)
    return {
      call: (call) => this.#request(shard, (stub) => stub.call(shard, call), unanswered),
      cast: (call) =>
        void this.#request(
          shard,
          (stub) => stub.cast(shard, call),
          (name, error) => {
            this.#log.warn('a cast was lost', { shard: name, command: call.command, error: String(error) })
          },
        ),
      deliver: (sender, cast) => this.#request(shard, (stub) => stub.deliver(shard, sender, cast), unanswered),
    }
  }

  async #request<T>(
    shard: ShardId,
    send: (stub: ShardRpc) => Promise<T>,
    onFailed: (name: string, error: unknown) => T,
  ): Promise<T> {
    const name = shardName(shard)
    const shared = this.#acquireStub(name)
    try {
      return await send(shared.stub)
    } catch (error) {
      this.#stubs.delete(name)
      return onFailed(name, error)
    } finally {
      this.#releaseStub(name, shared)
    }
  }

  #acquireStub(name: string): SharedStub {
    let shared = this.#stubs.get(name)
    if (!shared) {
      shared = { stub: this.#namespace.get(this.#namespace.idFromName(name)), pendingCalls: 0 }
      this.#stubs.set(name, shared)
    }
    shared.pendingCalls++
    return shared
  }

  #releaseStub(name: string, shared: SharedStub): void {
    if (--shared.pendingCalls === 0 && this.#stubs.get(name) === shared) this.#stubs.delete(name)
  }
}

function unanswered(name: string, error: unknown): PeerAnswer {
  const isOverloaded = (error as { overloaded?: boolean }).overloaded
  return systemError(isOverloaded ? 'OVERLOADED' : 'UNAVAILABLE', `${name}: ${String(error)}`)
}
