// What the conformance suite asks of a host. A case never knows which host it runs on; what a host cannot do is
// named in `cannot`, with the reason, and shown as such.

import type { Firefly } from '../../client/index.ts'

export interface Host {
  readonly name: 'memory' | 'node' | 'durable'
  /** Why cases of that need cannot run here. */
  readonly cannot: Partial<Record<HostFeature, string>>
  /** A connection that speaks bytes, as a legacy client does. Default: a stream where the host has streams. */
  rawClient(kind?: 'stream' | 'messages'): Promise<RawClient>
  /** The SDK. */
  sdkClient(): Promise<Firefly>
  /** Waits until `done` holds; throws with `what` when it does not within ten seconds of the host's time. */
  waitUntil(done: () => boolean, what: string): Promise<void>
  /** Lets time pass. */
  sleep(ms: number): Promise<void>
  /** The shard leaves memory in good order and comes back at the next word. */
  evictShard(contract: string, key: string): Promise<void>
  /** The shard is gone at once, with all that was not committed; links to it break. */
  abortShard(contract: string, key: string): Promise<void>
  /** The whole process that runs the shards is killed and comes back on the same address and data. */
  killProcess?(): Promise<void>
  readonly faults?: CommitFaults
  close(): Promise<void>
}

export type HostFeature =
  | 'evict'
  | 'abort'
  /** `kill` */
  | 'kill'
  /** A commit of a kv key `doom` ends what runs the shard, before anything is answered. */
  | 'doom'
  /** Bytes may be cut anywhere: TCP. */
  | 'stream'
  /** A send is one WebSocket message, of whatever bytes. */
  | 'messages'
  /** `faults` */
  | 'commitFaults'

/** What the store does to commits instead of doing them well. */
export interface CommitFaults {
  /** Of the next commits, in order. 'applied' and 'dropped' both answer unknown; 'dropped' and 'failed' do nothing. */
  injectNext(...kinds: ('failed' | 'applied' | 'dropped')[]): Promise<void>
  /** Commits are applied at once and answered only when the returned function is called. */
  holdCommits(): Promise<() => Promise<void>>
}

export interface RawClient {
  send(bytes: Uint8Array): void
  /** Whole frames that arrived, oldest first. */
  readonly frames: { readonly command: number; readonly body: Uint8Array }[]
  readonly isClosed: boolean
  close(): void
}
