// Every bound of the framework in one place, each with the attack or accident that it prevents. A limit is a number that an
// operator may raise; no other place holds anything unbounded.

export interface Limits {
  /** Largest frame body. Prevents a length field from allocating memory; 64 KiB suffice for any command. */
  readonly maxBodyBytes: number
  /** Unread outbound bytes after which a connection is a slow consumer and is closed. */
  readonly maxOutboundBytes: number
  /** Unread outbound bytes after which events are queued at their shards, where the newest of a kind replaces older ones. */
  readonly maxUnreadBytes: number
  /** Cost that a session may send per second, averaged over two: a flood is read no faster than this. */
  readonly maxCostPerSecond: number
  /** Bytes that a session may send per second, averaged over two. */
  readonly maxBytesPerSecond: number
  /** Rejected messages before a legacy session is closed: tolerates an old client, stops a fuzzer. */
  readonly maxStrikes: number
  /** Channels of one session: each may activate a shard. */
  readonly maxChannels: number
  /** Queued calls of one channel; beyond it TCP is paused or the call is OVERLOADED. */
  readonly maxWaiting: number
  /** Replies stored for a channel until the client acknowledges them; a client that never does is closed. */
  readonly maxUnackedReplies: number
  /** Bytes of those replies; also keeps a channel's row far below the 2 MB of a Durable Object row. */
  readonly maxUnackedBytes: number
  /** Events stored for a channel until the client acknowledges them; a client that returns later receives RESYNC. */
  readonly maxUnackedEvents: number
  /** Bytes of those events; all receivers of a broadcast share its bytes. */
  readonly maxUnackedEventBytes: number
  /** Entries in one shard's mailbox, of all senders. */
  readonly maxMailbox: number
  /** Bytes of the calls in all mailboxes of a process. */
  readonly maxBacklogBytes: number
  /** Entries in all mailboxes of a process: beyond it a call is rejected immediately instead of answered too late. */
  readonly maxBacklog: number
  /** Longest key of a shard, in UTF-8 bytes. */
  readonly maxKeyBytes: number
  /** All durable key-value state of one shard, keys and values. */
  readonly maxKvBytes: number
  /** Timers of one shard. */
  readonly maxTimers: number
  /** Unanswered durable casts of one shard. */
  readonly maxCasts: number
  /** Turns of one shard that wait for MySQL; beyond it calls receive RETRY_LATER immediately. */
  readonly maxHeld: number
  /** Bytes of rows in the memory of one process; beyond it the least recently used are evicted. */
  readonly maxRowCacheBytes: number
  /** Shards in the memory of one process: prevents clients that keep opening new keys from exhausting memory. */
  readonly maxShards: number
  /** Detached channels in one process; beyond it the longest detached one is discarded. */
  readonly maxAbsent: number
  /** Connections of one gateway; below the usual 20,000 descriptors with room for files. */
  readonly maxConnections: number
  /** Connections per address (IPv6: per /64, one household): many players behind one router, but not one flooding machine. */
  readonly maxPerAddress: number
  /** The same for the loopback address: a proxy or a tool on this machine. */
  readonly maxPerLoopback: number
  /** Connections without a complete frame yet, or without login where the game requires one. */
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

/** Bounds of a MessagePack body before it is decoded: nesting overflows recursive code, items exhaust the heap. */
export const SCAN_LIMITS = { depth: 32, items: 4_096 } as const

/** Time limits, in milliseconds. */
export const TIMES = {
  /** A silent connection is closed; legacy clients never ping, so the limit is generous. */
  idleMs: 300_000,
  /** PING interval of both sides; 2.5 intervals without data are a dead connection. */
  heartbeatMs: 15_000,
  /** Deadline of the first complete frame. */
  firstFrameMs: 10_000,
  /** Deadline for completing a frame, however slowly its bytes arrive. */
  frameMs: 30_000,
  /** A slow reader that reads nothing for this long is closed. */
  unreadMs: 30_000,
  /** Deadline of the login where the game requires one. */
  loginMs: 30_000,
  /** A connection above its rate limit for this long is closed. */
  floodMs: 30_000,
  /** How long a member without connection retains its seat, unless its game sets another time. */
  lingerMs: 30_000,
  /** Validity of a resume token; marks are stored as long. */
  tokenMs: 86_400_000,
  /** An asynchronous turn that takes longer is ended together with its activation. */
  turnMs: 30_000,
  /** Default deadline of a call between shards. */
  callMs: 5_000,
  /** How long a shard retains a detached channel, for resent calls. */
  rememberMs: 60_000,
  /** A caller that waits for MySQL receives RETRY_LATER after this. */
  criticalMs: 5_000,
  /** Deadline for loading a cold shard's rows from MySQL. Below `callMs`, so that a calling shard receives the reason. */
  loadMs: 4_000,
  /** A shard without channels, timers and work is evicted after this. */
  evictMs: 60_000,
  /** A durable timer due later than this stays on disk only: a day's timers would fill the memory. */
  wakeAheadMs: 600_000,
  /** How long the stored marks of a detached session are retained. */
  keepMarksMs: 86_400_000,
  /** Receipts of durable casts are retained longer: a cast is delivered until it has an answer. */
  keepReceiptsMs: 90 * 86_400_000,
  /** How long a drain waits for running turns. */
  drainMs: 5_000,
} as const
