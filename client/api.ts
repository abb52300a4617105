// What a game sees of the SDK: what it may ask for when it connects, and the session that it gets.

import type { Contract, DataOf, Entries, EventNames } from '../core/wire/contract.ts'
import type { FrameIdentity } from '../core/wire/frame.ts'
import type { Remote } from './channel.ts'
import type { Measure } from './metric.ts'
import type { ShardName } from './reconnect.ts'
import type { Closed } from './closereason.ts'
import type { ClientClock, Dial } from './socket.ts'

export interface ConnectOptions {
  /** The server's frame identity; default all zeros. */
  readonly identity?: FrameIdentity
  /**
   * The login ticket that begins a session. A function is asked each time a new session begins; when it fails, the
   * attempt has failed, and it is asked again at the next.
   */
  readonly ticket?: string | (() => string | Promise<string>)
  /** A call without answer for so long fails with DEADLINE. Default 15,000. */
  readonly timeoutMs?: number
  /** How long the first connection may take. Default 10,000. */
  readonly connectMs?: number
  /** Told what the SDK measures. */
  readonly metrics?: Measure
  /** Default: the platform's WebSocket. */
  readonly dial?: Dial
  readonly clock?: ClientClock
}

/** 'paused': no connection at the moment, it is being made again. */
export type State = 'open' | 'paused' | 'closed'

export interface Firefly extends AsyncDisposable {
  readonly state: State
  /** Last heartbeat's round trip in milliseconds; 0 before the first. */
  readonly rttMs: number
  /** The shard of this contract and key (default: the contract's own); the same object for the same shard. */
  at<E extends Entries, Code extends string>(contract: Contract<E, Code>, key?: string): Remote<E>
  /** Each of these returns a function that stops it. */
  on(what: 'state', listener: (state: State) => void): () => void
  /** 'paused': the connection is lost. 'resumed': there is one again, and every channel that was open was answered. */
  on(what: 'paused' | 'resumed', listener: () => void): () => void
  /**
   * Of these shards something was lost: events (RESYNC), or the shard began anew. Comes right after 'resumed', or in
   * the middle. Events pushed to the session itself are the contract '@session'.
   */
  on(what: 'resynced', listener: (shards: readonly ShardName[]) => void): () => void
  /** The session is over for good; told once. */
  on(what: 'closed', listener: (reason: Closed) => void): () => void
  /** An event pushed to whoever has logged in. @throws InputError when the contract has no such event */
  on<E extends Entries, Code extends string, K extends EventNames<E>>(
    contract: Contract<E, Code>,
    event: K,
    listener: (data: DataOf<E[K]>) => void,
  ): () => void
  /** Ends the session: leaves every shard; calls that wait fail with CLOSED. */
  close(): Promise<void>
}
