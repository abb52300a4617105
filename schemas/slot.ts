// The tables of one slot file: the data of many shards, each identified by its name `contract/key`. Tables with text
// keys are WITHOUT ROWID, so that a row is not written a second time for an index. Invariant: a file of another format
// is neither read nor changed.

import { ROW_TABLES } from './rows.ts'

/** `PRAGMA application_id`: "Fire". Identifies a slot file among SQLite files. */
export const SLOT_APPLICATION_ID = 0x46697265
/**
 * Step n migrates a file from format n - 1 to n; a new file runs all steps, in one transaction. `PRAGMA user_version`
 * is a file's format. A change is a new step at the end. In `channels` the replies come last, so that `seen_ms` is read
 * without the overflow pages of a long reply.
 */
export const SLOT_STEPS: readonly string[] = [
  // 1: values, timers, channels, snapshots
  `CREATE TABLE kv
    (shard TEXT, name TEXT, value BLOB NOT NULL, PRIMARY KEY (shard, name)) WITHOUT ROWID;
  CREATE TABLE timers
    (shard TEXT, name TEXT, due_ms NOT NULL, data BLOB NOT NULL, PRIMARY KEY (shard, name)) WITHOUT ROWID;
  CREATE TABLE channels
    (shard TEXT, id TEXT, mark INTEGER NOT NULL, seen_ms NOT NULL, replies BLOB NOT NULL,
     PRIMARY KEY (shard, id)) WITHOUT ROWID;
  CREATE TABLE snapshots
    (shard TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE activations
    (id INTEGER PRIMARY KEY CHECK (id = 1), reserved INTEGER NOT NULL);
  INSERT INTO activations (id, reserved) VALUES (1, 0);
  PRAGMA application_id = ${SLOT_APPLICATION_ID}`,
  // 2: rows, durable casts, the outbox
  ROW_TABLES.join(';\n  '),
  // 3: finds the next due timers among millions
  'CREATE INDEX timers_due ON timers (due_ms)',
]
export const SLOT_FORMAT = SLOT_STEPS.length

export const COUNT_TABLES = 'SELECT count(*) AS tables FROM sqlite_master'

export const ALL_KV = 'SELECT name, value FROM kv WHERE shard = ?'
export const SET_KV = `INSERT INTO kv (shard, name, value) VALUES (?, ?, ?)
  ON CONFLICT DO UPDATE SET value = excluded.value`
export const DELETE_KV = 'DELETE FROM kv WHERE shard = ? AND name = ?'

export const ALL_TIMERS = 'SELECT name, due_ms AS dueMs, data FROM timers WHERE shard = ?'
export const SET_TIMER = `INSERT INTO timers (shard, name, due_ms, data) VALUES (?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET due_ms = excluded.due_ms, data = excluded.data`
export const DELETE_TIMER = 'DELETE FROM timers WHERE shard = ? AND name = ?'
/** Durable timers that are due until a time; the last row of a shard is its earliest timer. */
export const DUE_TIMERS = `SELECT shard, due_ms AS dueMs FROM timers INDEXED BY timers_due WHERE due_ms <= ?
  ORDER BY due_ms DESC`

export const GET_CHANNEL = 'SELECT mark, replies FROM channels WHERE shard = ? AND id = ?'
export const SET_CHANNEL = `INSERT INTO channels (shard, id, mark, seen_ms, replies) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET mark = excluded.mark, seen_ms = excluded.seen_ms, replies = excluded.replies`
/** One page of channels after a key: old channels are searched page by page, without an index. */
export const PAGE_OF_CHANNELS = `SELECT shard, id, seen_ms AS seenMs FROM channels
  WHERE (shard, id) > (?, ?) ORDER BY shard, id LIMIT ?`
export const DELETE_CHANNEL = 'DELETE FROM channels WHERE shard = ? AND id = ?'

export const GET_SNAPSHOT = 'SELECT data FROM snapshots WHERE shard = ?'
export const SET_SNAPSHOT = `INSERT INTO snapshots (shard, data) VALUES (?, ?)
  ON CONFLICT DO UPDATE SET data = excluded.data`

/** Every activation number up to `reserved` may have been used. */
export const GET_RESERVED = 'SELECT reserved FROM activations WHERE id = 1'
export const SET_RESERVED = 'UPDATE activations SET reserved = ? WHERE id = 1'
