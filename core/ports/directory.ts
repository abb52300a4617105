import type { ErrorKind } from '../wire/message.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { StoredCast } from './store.ts'

/** Where shards live, as other shards see it. */
export interface Directory {
  peer(shard: ShardId): Peer
}
export interface Peer {
  /** Resolves always, with a system error at the worst. */
  call(call: PeerCall): Promise<PeerAnswer>
  cast(call: PeerCall): void
  /** A durable cast of the shard `sender`, as often as it takes; the receiver does it once. Resolves always. */
  deliver(sender: string, cast: StoredCast): Promise<PeerAnswer>
}
export interface PeerCall {
  readonly command: number
  readonly body: Uint8Array
  /** The shards that wait for this call, first caller first. */
  readonly chain: readonly string[]
  /** Wall clock; 0 for a cast. */
  readonly deadlineMs: number
}
export type PeerAnswer =
  | { readonly kind: 'reply'; readonly body: Uint8Array | null }
  | { readonly kind: ErrorKind; readonly code: string; readonly message: string }
