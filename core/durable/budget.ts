// Where the memory of a Worker isolate goes. The platform ends an isolate above 128 MB; several objects and, when everything
// is one script, the edge share it. Invariant: the parts are at most the whole (test/unit/budget.test.ts).

const MIB = 1_048_576

/** https://developers.cloudflare.com/workers/platform/limits/ */
export const ISOLATE_BYTES = 128_000_000

/** A change that is being sent exists as an entry, as a row, as SQL and in a request. */
export const COPIES_OF_CHANGE = 4

export const ISOLATE_BUDGET = {
  /** Code, V8, engine and gateway: a workerd with a game and one object has 18 MB of heap and stacks. */
  baseBytes: 20 * MIB,
  /** The game's own `c.state`, values and snapshots. */
  gameBytes: 16 * MIB,
  /** What V8 has not collected yet: 40 MB while an object writes 210 MB of rows. */
  garbageBytes: 40 * MIB,
  /**
   * Rows of all objects, by the weights of RowCache. Few: a row is read again from the SQLite of the same thread, while rows that
   * live longer become garbage that V8 collects late. Two objects that wrote 210 MB left 20 MB of it without a cache, 33 MB with
   * 256 KiB, and 114 MB with anything from 1 to 16 MiB (workerd without a heap limit).
   */
  rowBytes: 262_144,
  /** Events and replies of all channels that their clients have not acknowledged. */
  channelBytes: 12 * MIB,
  /** Calls in all mailboxes. */
  backlogBytes: 8 * MIB,
  /** Batches of all outboxes on their way to MySQL, with their copies. The outbox itself is on disk. */
  outboxBytes: 8 * MIB,
  /** Unread bytes of all clients of an edge: `maxTotalUnreadBytes` there, which a variable replaces where the edge runs alone. */
  outboundBytes: 16 * MIB,
} as const
