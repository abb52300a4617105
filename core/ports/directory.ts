// How a shard reaches another shard, on the same machine or not.

import type { SystemCode } from '../wire/errors.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { ShardId } from '../wire/shardid.ts'
import type { StoredCast } from './store.ts'

export interface Directory {
  peer(shard: ShardId): Peer
}
export interface Peer {
  /** Never rejects: a failure is a system error. */
  call(call: PeerCall): Promise<PeerAnswer>
  cast(call: PeerCall): void
  /** Delivers a durable cast of the shard `sender`; the receiver runs it once. Never rejects. */
  deliver(sender: string, cast: StoredCast): Promise<PeerAnswer>
}
export interface PeerCall {
  readonly command: number
  readonly body: Uint8Array
  /** The shards that wait for this call, first caller first. */
  readonly chain: readonly string[]
  /** How long the caller waits from now on; 0 for a cast. No moment, because clocks of two shards can differ. */
  readonly timeoutMs: number
}
export type PeerAnswer = { readonly kind: 'reply'; readonly body: Uint8Array | null } | PeerFailure
export interface PeerFailure {
  readonly kind: ErrorKind
  readonly code: string
  readonly message: string
  /** Of a stale durable cast: the last sequence that the receiver ran. Absent in answers of an earlier version. */
  readonly mark?: number
}

export function systemError(code: SystemCode, message = ''): PeerFailure {
  return { kind: 'system', code, message }
}
