// What the conformance suite asks of a host. A case never knows which host it runs on; what a host cannot do is
// named in `cannot`, with the reason, and shown as such.

import type { Firefly } from '../../client/index.ts'

export interface Host {
  readonly name: 'memory' | 'node' | 'durable'
  /** Why cases of that need cannot run here. */
  readonly cannot: Partial<Record<Need, string>>
  /** A connection that speaks bytes, as a legacy client does. */
  raw(): Promise<RawClient>
  /** The SDK. */
  client(): Promise<Firefly>
  /** Waits until `done` holds; throws with `what` when it does not within ten seconds of the host's time. */
  until(done: () => boolean, what: string): Promise<void>
  /** Lets time pass. */
  pass(ms: number): Promise<void>
  /** The shard leaves memory in good order and comes back at the next word. */
  evict(contract: string, key: string): Promise<void>
  /** The shard is gone at once, with all that was not committed; links to it break. */
  abort(contract: string, key: string): Promise<void>
  /** The whole process that runs the shards is killed and comes back on the same address and data. */
  kill?(): Promise<void>
  close(): Promise<void>
}

export type Need = 'evict' | 'abort' | 'kill' | 'tcp' | 'commitFaults'

export interface RawClient {
  send(bytes: Uint8Array): void
  /** Whole frames that arrived, oldest first. */
  readonly frames: { readonly command: number; readonly body: Uint8Array }[]
  readonly closed: boolean
  close(): void
}
