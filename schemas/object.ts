// The tables of one shard's Durable Object. Tables with text keys are WITHOUT ROWID, because Cloudflare bills the row
// of an index as a further written row. Invariant: a statement binds the values of one row, fewer than the 100
// parameters of the platform.

import { ROW_TABLES } from './rows.ts'

/** Run first; each is a no-op when its table exists. */
export const OBJECT_TABLES = [
  ...ROW_TABLES,
  'CREATE TABLE IF NOT EXISTS kv (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID',
  'CREATE TABLE IF NOT EXISTS timers (name TEXT PRIMARY KEY, due_ms INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID',
  `CREATE TABLE IF NOT EXISTS channels
    (id TEXT PRIMARY KEY, mark INTEGER NOT NULL, replies BLOB NOT NULL, touched_ms INTEGER NOT NULL) WITHOUT ROWID`,
  'CREATE TABLE IF NOT EXISTS snapshot (part INTEGER PRIMARY KEY, bytes BLOB NOT NULL)',
] as const

export const HAS_TABLES = "SELECT count(*) AS n FROM sqlite_master WHERE type = 'table' AND name = 'meta'"

export const GET_META = 'SELECT value FROM meta WHERE name = ?'
export const ADD_META = 'INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)'
/** Numbers a new activation. */
export const NEXT_ACTIVATION = `INSERT INTO meta (name, value) VALUES ('activation', 1)
  ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value`

export const ALL_KV = 'SELECT name, value FROM kv'
export const SET_KV =
  'INSERT INTO kv (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value'
export const DELETE_KV = 'DELETE FROM kv WHERE name = ?'

export const ALL_TIMERS = 'SELECT name, due_ms, data FROM timers'
export const NEXT_TIMER = 'SELECT min(due_ms) AS due_ms FROM timers'
export const SET_TIMER = `INSERT INTO timers (name, due_ms, data) VALUES (?, ?, ?)
  ON CONFLICT (name) DO UPDATE SET due_ms = excluded.due_ms, data = excluded.data`
export const DELETE_TIMER = 'DELETE FROM timers WHERE name = ?'

export const GET_CHANNEL = 'SELECT mark, replies FROM channels WHERE id = ?'
export const SET_CHANNEL = `INSERT INTO channels (id, mark, replies, touched_ms) VALUES (?, ?, ?, ?)
  ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, replies = excluded.replies, touched_ms = excluded.touched_ms`
/** A receipt of another shard's cast has the id `@contract/key` and an age limit of its own. */
export const PRUNE_CHANNELS = `DELETE FROM channels
  WHERE touched_ms < ? AND (id NOT GLOB '@*' OR touched_ms < ?)`

export const ALL_SNAPSHOT = 'SELECT bytes FROM snapshot ORDER BY part'
export const SET_SNAPSHOT =
  'INSERT INTO snapshot (part, bytes) VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET bytes = excluded.bytes'
export const TRIM_SNAPSHOT = 'DELETE FROM snapshot WHERE part >= ?'
/** Size of one part of a snapshot; a row of a Durable Object holds at most 2 MB. */
export const SNAPSHOT_PART_BYTES = 1_048_576
