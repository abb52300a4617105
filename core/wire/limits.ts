// Every bound of the framework in one place, each beside the attack or accident it stops.
// A limit is a number that an operator may raise; nothing unbounded stands anywhere else.

export interface Limits {
  /** Largest frame body. Stops a length field from reserving memory; 64 KiB holds any sane command. */
  readonly maxBodyBytes: number
  /** Unread outbound bytes after which a connection is a slow consumer and is closed. */
  readonly maxOutboundBytes: number
  /** Unread outbound bytes after which its events wait beside their shards, where the newest of a kind replace older. */
  readonly maxUnreadBytes: number
  /** Cost of what a session sends in a second, averaged over two: a flooder is read no faster than this. */
  readonly maxCostPerSecond: number
  /** The same in bytes. */
  readonly maxBytesPerSecond: number
  /** Refused messages a session may send before it is closed: tolerates an old client, stops a fuzzer. */
  readonly maxStrikes: number
  /** Channels of one session: each may wake a shard. */
  readonly maxChannels: number
  /** Calls of one channel that wait for their turn; beyond it TCP is paused or the call is OVERLOADED. */
  readonly maxWaiting: number
  /** Replies kept for a channel until the client acknowledges them; a client that never does is closed. */
  readonly maxUnackedReplies: number
  /** The same in bytes; also keeps a channel's row far below the 2 MB of a Durable Object row. */
  readonly maxUnackedBytes: number
  /** Events kept for a channel until the client acknowledges them; one that comes back later hears RESYNC. */
  readonly maxUnackedEvents: number
  /** The same in bytes; the bytes of a broadcast are shared by all who receive it. */
  readonly maxUnackedEventBytes: number
  /** Entries in one shard's mailbox, all senders together. */
  readonly maxMailbox: number
  /** Bytes of the calls in all mailboxes of a process. */
  readonly maxBacklogBytes: number
  /** Entries in all mailboxes of a process: beyond it a call is refused at once instead of answered too late. */
  readonly maxBacklog: number
  /** Longest key of a shard, in UTF-8 bytes. */
  readonly maxKeyBytes: number
  /** All durable key-value state of one shard, keys and values. */
  readonly maxKvBytes: number
  /** Timers of one shard. */
  readonly maxTimers: number
  /** Durable casts of one shard that have no answer yet. */
  readonly maxCasts: number
  /** Turns of one shard that wait for MySQL; beyond it calls hear RETRY_LATER at once. */
  readonly maxHeld: number
  /** Rows in the memory of one process; beyond it the least recently used leave. */
  readonly maxRowCacheBytes: number
  /** Shards in the memory of one process: who opens ever new keys meets it, and not the process its end. */
  readonly maxShards: number
  /** Channels without connection in one process; beyond it the one that is absent longest leaves. */
  readonly maxAbsent: number
  /** Connections of one gateway; under the usual 20,000 descriptors with room for files. */
  readonly maxConnections: number
  /** Connections of one address (IPv6: of one /64, which one home has): many players behind one router, no botnet of one. */
  readonly maxPerAddress: number
  /** The same for the loopback address: a proxy or a tool of this machine. */
  readonly maxPerLoopback: number
  /** Connections that have not said a whole frame yet, or not logged in where the game demands it. */
  readonly maxUnproven: number
}

export const DEFAULT_LIMITS: Limits = {
  maxBodyBytes: 65_536,
  maxOutboundBytes: 1_048_576,
  maxUnreadBytes: 262_144,
  maxCostPerSecond: 2_000,
  maxBytesPerSecond: 2_097_152,
  maxStrikes: 10,
  maxChannels: 32,
  maxWaiting: 256,
  maxUnackedReplies: 512,
  maxUnackedBytes: 524_288,
  maxUnackedEvents: 512,
  maxUnackedEventBytes: 262_144,
  maxMailbox: 10_000,
  maxBacklogBytes: 268_435_456,
  maxBacklog: 50_000,
  maxKeyBytes: 128,
  maxKvBytes: 131_072,
  maxTimers: 1_000,
  maxCasts: 1_024,
  maxHeld: 512,
  maxRowCacheBytes: 268_435_456,
  maxShards: 100_000,
  maxAbsent: 10_000,
  maxConnections: 18_000,
  maxPerAddress: 512,
  maxPerLoopback: 18_000,
  maxUnproven: 4_096,
}

/** Bounds of a MessagePack body before it is decoded: nesting kills recursive consumers, items kill the heap. */
export const SCAN_LIMITS = { depth: 32, items: 4_096 } as const

/** Time bounds, in milliseconds. */
export const TIMES = {
  /** A connection that sends nothing is closed; legacy clients never ping, so it is generous. */
  idleMs: 300_000,
  /** A session client promises a PING this often, and hears one as often; silence of 2.5 of them is a dead connection. */
  heartbeatMs: 15_000,
  /** The first whole frame is due. */
  firstFrameMs: 10_000,
  /** A frame that has begun is due, however slowly its bytes come. */
  frameMs: 30_000,
  /** A slow reader that reads nothing at all for so long is let go. */
  unreadMs: 30_000,
  /** The login is due where the game demands one. */
  loginMs: 30_000,
  /** A connection that was above its budget all this time is closed. */
  floodMs: 30_000,
  /** A member whose connection is gone keeps its seat so long, unless its game says otherwise. */
  lingerMs: 30_000,
  /** A resume token is good for so long; marks are kept as long. */
  tokenMs: 86_400_000,
  /** An asynchronous turn that takes longer ends with its activation: nothing hangs. */
  turnMs: 30_000,
  /** Default deadline of a call between shards. */
  callMs: 5_000,
  /** How long a shard remembers the channel of a connection that is gone, for resent calls. */
  rememberMs: 60_000,
  /** A caller that waits for MySQL hears RETRY_LATER after this. */
  criticalMs: 5_000,
  /** A cold shard that MySQL has not given its rows by then cannot be activated. Below `callMs`, so that a shard which
   * called it hears why. */
  loadMs: 4_000,
  /** A shard without channels, timers and work leaves memory after this. */
  evictMs: 60_000,
  /** A durable timer that is due later than this waits on the disk alone: a day's timers would fill the memory. */
  wakeAheadMs: 600_000,
  /** How long stored marks of an absent session are kept. */
  keepMarksMs: 86_400_000,
  /** What another shard cast last is remembered longer: it is delivered for as long as it has no answer. */
  keepReceiptsMs: 90 * 86_400_000,
  /** A drain gives running turns this long. */
  drainMs: 5_000,
} as const
