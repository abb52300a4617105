// The SDK's public interface: the options of `connect`, and the session that it returns.

import type { Contract, DataOf, Entries, EventNames, ShardKeyArgs } from '../core/wire/contract.ts'
import type { FrameIdentity } from '../core/wire/frame.ts'
import type { Remote } from './channel.ts'
import type { Measure } from './listeners.ts'
import type { ShardName } from './reconnect.ts'
import type { Closed } from './closereason.ts'
import type { ClientClock, Dial } from './socket.ts'

/** Options of `connect`. */
export interface ConnectOptions {
  /** The server's frame identity; default all zeros. */
  readonly identity?: FrameIdentity
  /**
   * The login ticket of a new session. A function is called in each attempt that starts a new session; if it fails, the
   * attempt fails, and the next attempt calls it again.
   */
  readonly ticket?: string | (() => string | Promise<string>)
  /** Deadline of a call: without answer by then it fails with DEADLINE. Default 15,000. */
  readonly timeoutMs?: number
  /** Deadline of the first connection, 10,000 by default. If it is set, attempts continue until then whatever the cause. */
  readonly connectMs?: number
  /** Receives the SDK's measurements. */
  readonly metrics?: Measure
  /** Default: the platform's WebSocket. */
  readonly dial?: Dial
  /** Time and randomness of the SDK. Default: those of the platform; a test supplies its own. */
  readonly clock?: ClientClock
}

/** 'paused': no connection; the SDK is connecting. */
export type State = 'open' | 'paused' | 'closed'

/** A session with a game: its shards, its events and its end. `await using` closes it. */
export interface Firefly extends AsyncDisposable {
  /** Whether the session has a connection at the moment, and whether it has ended. */
  readonly state: State
  /** Round-trip time of the last heartbeat in milliseconds; 0 before the first. */
  readonly rttMs: number
  /** The shard of this contract and key (default: the contract's key, unless it is `keyed`); the same object for the same shard. */
  at<E extends Entries, Code extends string, Keyed extends boolean>(
    contract: Contract<E, Code, Keyed>,
    ...key: ShardKeyArgs<Keyed>
  ): Remote<E>
  /** Every `on` returns a function that removes the listener. */
  on(what: 'state', listener: (state: State) => void): () => void
  /** 'paused': the connection was lost. 'resumed': the SDK has reconnected, and the server answered every open channel. */
  on(what: 'paused' | 'resumed', listener: () => void): () => void
  /**
   * These shards lost events (RESYNC) or restarted. Follows 'resumed', or occurs during a connection. The contract '@session'
   * represents the events pushed to the session itself.
   */
  on(what: 'resynced', listener: (shards: readonly ShardName[]) => void): () => void
  /** The session has ended permanently; called once. */
  on(what: 'closed', listener: (reason: Closed) => void): () => void
  /** An event pushed to the logged-in session. @throws InputError when the contract has no such event */
  on<E extends Entries, Code extends string, K extends EventNames<E>>(
    contract: Contract<E, Code>,
    event: K,
    listener: (data: DataOf<E[K]>) => void,
  ): () => void
  /** Ends the session: leaves every shard; pending calls fail with CLOSED. */
  close(): Promise<void>
}
