// Every bound of the framework in one place, each with the attack or accident that it prevents. A limit is a number that an
// operator may raise; no other place holds anything unbounded.

const LIMITS = {
  /**
   * Largest frame body that is received. Prevents a length field from allocating memory. An answer of the same size is a
   * message of less than 65,536 bytes, the default limit of common WebSocket clients (docs/decisions/021).
   */
  maxBodyBytes: 65_500,
  /** Largest WebSocket message of several frames; a larger frame is a message of its own. The same limits of clients. */
  maxMessageBytes: 65_535,
  /**
   * Unread outbound bytes after which reading pauses, and a peer that reads nothing for `stallMs` is closed. Eight times as
   * many close it when it is sent more.
   */
  maxOutboundBytes: 1_048_576,
  /** Unread outbound bytes after which events are queued at their shards, where the newest of a kind replaces older ones. */
  maxUnreadBytes: 262_144,
  /** Unread outbound bytes of all connections of a process: many slow readers, each within its own limit. */
  maxTotalUnreadBytes: 268_435_456,
  /** Cost that a session may send per second, averaged over two: a flood is read no faster than this. */
  maxCostPerSecond: 2_000,
  /** Bytes that a session may send per second, averaged over two. */
  maxBytesPerSecond: 2_097_152,
  /** Rejected messages before a legacy session is closed: tolerates an old client, stops a fuzzer. */
  maxStrikes: 10,
  /** Channels of one session: each may activate a shard. */
  maxChannels: 32,
  /** Queued calls of one channel; beyond it TCP is paused or the call is OVERLOADED. */
  maxWaiting: 256,
  /** Replies stored for a channel until the client acknowledges them; a client that never does is closed. */
  maxUnackedReplies: 512,
  /** Bytes of those replies; also keeps a channel's row far below the 2 MB of a Durable Object row. */
  maxUnackedBytes: 524_288,
  /** Events stored for a channel until the client acknowledges them; a client that returns later receives RESYNC. */
  maxUnackedEvents: 512,
  /** Bytes of those events; all receivers of a broadcast share its bytes. */
  maxUnackedEventBytes: 262_144,
  /** Entries in one shard's mailbox, of all senders. */
  maxMailbox: 10_000,
  /** Bytes of the calls in all mailboxes of a process. */
  maxBacklogBytes: 268_435_456,
  /** Entries in all mailboxes of a process: beyond it a call is rejected immediately instead of answered too late. */
  maxBacklog: 50_000,
  /** Longest key of a shard, in UTF-8 bytes. */
  maxKeyBytes: 128,
  /** All durable key-value state of one shard, keys and values. */
  maxKvBytes: 131_072,
  /** One encoded snapshot; a larger one is not saved. A Worker holds it several times while it is written. */
  maxSnapshotBytes: 8_388_608,
  /** Timers of one shard. */
  maxTimers: 1_000,
  /** Unanswered durable casts of one shard. */
  maxCasts: 1_024,
  /** Turns of one shard that wait for MySQL; beyond it calls receive RETRY_LATER immediately. */
  maxHeld: 512,
  /** Bytes of rows in the memory of one process; beyond it the least recently used are evicted. */
  maxRowCacheBytes: 268_435_456,
  /** Shards in the memory of one process: prevents clients that keep opening new keys from exhausting memory. */
  maxShards: 100_000,
  /** Detached channels in one process; beyond it the longest detached one is discarded. */
  maxAbsent: 10_000,
  /** Connections of one gateway; below the usual 20,000 descriptors with room for files. */
  maxConnections: 18_000,
  /** Connections per address (IPv6: per /64, one household): many players behind one router, but not one flooding machine. */
  maxPerAddress: 512,
  /** The same for the loopback address: a proxy or a tool on this machine. */
  maxPerLoopback: 18_000,
  /** Connections without a complete frame yet, or without login where the game requires one. */
  maxUnproven: 4_096,
}

export type Limits = Readonly<typeof LIMITS>
export const DEFAULT_LIMITS: Limits = LIMITS

/** Bounds of a MessagePack body before it is decoded: nesting overflows recursive code, items exhaust the heap. */
export const SCAN_LIMITS = { depth: 32, items: 4_096 } as const

/**
 * Bytes of one value that a Store holds in one row besides others: a timer's data, a durable cast, a retained reply. A row of
 * a Durable Object holds 2 MB.
 */
export const MAX_STORED_BYTES = 1_048_576

/** Time limits, in milliseconds. */
export const TIMES = {
  /** A silent connection is closed; legacy clients never ping, so the limit is generous. */
  idleMs: 300_000,
  /** Bytes of players are handled for this long in one turn of the event loop; later calls in it are OVERLOADED. */
  overloadMs: 50,
  /** How long a client that received OVERLOADED waits at least, up to twice as long by chance. */
  retryAfterMs: 1_000,
  /** PING interval of both sides; 2.5 intervals without data are a dead connection. */
  heartbeatMs: 15_000,
  /** Deadline of the first complete frame. */
  firstFrameMs: 10_000,
  /** Deadline for completing a frame, however slowly its bytes arrive. */
  frameMs: 30_000,
  /** A slow reader that reads nothing for this long is closed. */
  unreadMs: 30_000,
  /** The same above `maxOutboundBytes`; longer while one large message is being sent, at most `unreadMs`. */
  stallMs: 3_000,
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
  /** The turn of `onDeactivate`, and how long the end of an activation waits for it. */
  deactivateMs: 5_000,
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
