// What the conformance suite requires of a host. Invariant: a case does not know which host it runs on; features that a
// host lacks are named in `cannot`, with the reason, and reported.

import type { Firefly } from '../../client/index.ts'

export interface Host {
  readonly name: 'memory' | 'node' | 'durable'
  /** The missing features, each with the reason. */
  /** IP address of every client. */
  readonly clientAddress: string
  readonly cannot: Partial<Record<HostFeature, string>>
  /** Opens a connection that sends and receives bytes. Default: a stream where the host has streams. */
  rawClient(kind?: 'stream' | 'messages'): Promise<RawClient>
  sdkClient(): Promise<Firefly>
  /** @throws Error with `what` when the condition is still false after ten seconds of the host's time */
  waitUntil(condition: () => boolean, what: string): Promise<void>
  sleep(ms: number): Promise<void>
  /** Unloads the shard after its pending work; the next message activates it again. */
  evictShard(contract: string, key: string): Promise<void>
  /** Ends the activation of an idle shard as the host itself does: `onDeactivate` runs, at once or after `idleMs`. */
  idleShard(contract: string, key: string): Promise<void>
  /** After so long without a client the host ends an activation by itself; 0 = `idleShard` does it. */
  readonly idleMs: number
  /** Ends the shard at once, without what was not committed; its links break. */
  abortShard(contract: string, key: string): Promise<void>
  /** Kills the process that runs the shards; it restarts with the same address and data. */
  killProcess?(): Promise<void>
  readonly faults?: CommitFaults
  close(): Promise<void>
}

export type HostFeature =
  | 'evict'
  | 'abort'
  /** `killProcess` */
  | 'kill'
  /** A commit of a kv key `crashAfterCommit` ends what runs the shard, before the reply. */
  | 'crashAfterCommit'
  /** Bytes may be split at any position: TCP. */
  | 'stream'
  /** Each send is one WebSocket message with any bytes. */
  | 'messages'
  /** `faults` */
  | 'commitFaults'
  /** The bytes that a client does not read stay at the server: no proxy takes them. */
  | 'unread'

/** 'applied' and 'dropped' both report an unknown outcome; 'dropped' and 'failed' write nothing. */
export type Fault = 'failed' | 'applied' | 'dropped'
export const FAULTS: readonly Fault[] = ['failed', 'applied', 'dropped']

export interface CommitFaults {
  /** Injects faults into the next commits, in order. */
  injectNext(...faults: Fault[]): Promise<void>
  /** Commits are applied at once; their outcome is reported when the returned function is called. */
  holdCommits(): Promise<() => Promise<void>>
}

export interface RawClient {
  send(bytes: Uint8Array): void
  /** Complete frames received, oldest first. */
  readonly frames: { readonly command: number; readonly body: Uint8Array }[]
  /** Bytes of each read; of a WebSocket, of each message. */
  readonly readBytes: readonly number[]
  readonly isClosed: boolean
  /** Stops or restarts reading. */
  setReading(isReading: boolean): void
  close(): void
}
