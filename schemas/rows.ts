// Firefly's own tables in a slot file and in an object: durable casts, the outbox, the loaded shards, and the metadata
// of the store. A game's table is `r_<name>`, created by core/sql/layout.ts. Invariant: the row of `outbox` with the
// highest sequence is never deleted, because it is the counter.

/** Each is a no-op when its table exists. */
export const ROW_TABLES = [
  'CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID',
  `CREATE TABLE IF NOT EXISTS casts
    (shard TEXT, sequence INTEGER, target_contract TEXT NOT NULL, target_key TEXT NOT NULL, command INTEGER NOT NULL,
     body BLOB NOT NULL, answer TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (shard, sequence)) WITHOUT ROWID`,
  // A row without data is not for MySQL: it is the counter, or holds only an undo.
  `CREATE TABLE IF NOT EXISTS outbox
    (seq INTEGER PRIMARY KEY, shard TEXT NOT NULL, critical INTEGER NOT NULL, data BLOB NOT NULL, undo BLOB)`,
  // What exceeds ENTRY_PART_BYTES of an entry's data (kind 0) or undo (kind 1).
  `CREATE TABLE IF NOT EXISTS outbox_parts
    (seq INTEGER, kind INTEGER, part INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (seq, kind, part)) WITHOUT ROWID`,
  'CREATE INDEX IF NOT EXISTS outbox_critical ON outbox (shard, seq) WHERE critical = 1',
  'CREATE TABLE IF NOT EXISTS loaded (shard TEXT PRIMARY KEY) WITHOUT ROWID',
] as const

export const ALL_META = 'SELECT name, value FROM meta'
export const SET_META = `INSERT INTO meta (name, value) VALUES (?, ?)
  ON CONFLICT (name) DO UPDATE SET value = excluded.value`

export const PENDING_CASTS = `SELECT sequence, target_contract, target_key, command, body, answer, data FROM casts
  WHERE shard = ? ORDER BY sequence`
export const CASTING_SHARDS = 'SELECT DISTINCT shard FROM casts'
export const SET_CAST = `INSERT INTO casts
  (shard, sequence, target_contract, target_key, command, body, answer, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (shard, sequence) DO UPDATE SET target_contract = excluded.target_contract,
    target_key = excluded.target_key, command = excluded.command, body = excluded.body, answer = excluded.answer,
    data = excluded.data`
export const DELETE_CAST = 'DELETE FROM casts WHERE shard = ? AND sequence = ?'

export const IS_LOADED = 'SELECT 1 FROM loaded WHERE shard = ?'
export const SET_LOADED = 'INSERT OR IGNORE INTO loaded (shard) VALUES (?)'
export const GET_TRUSTED = `SELECT value FROM meta WHERE name = 'trusted'`
export const DELETE_TRUSTED = `DELETE FROM meta WHERE name = 'trusted'`
export const DELETE_ALL_CASTS = 'DELETE FROM casts'
export const DELETE_ALL_LOADED = 'DELETE FROM loaded'

export const ADD_ENTRY = 'INSERT INTO outbox (seq, shard, critical, data, undo) VALUES (?, ?, ?, ?, ?)'
export const OUTBOX_BOUNDS = `SELECT min(seq) AS low, max(seq) AS high,
  (SELECT length(data) FROM outbox ORDER BY seq DESC LIMIT 1) AS bytes FROM outbox`
/** length() of a BLOB does not read its overflow pages. */
export const ENTRY_SIZES = `SELECT seq, length(data) AS bytes FROM outbox
  WHERE seq > ? AND seq <= ? AND length(data) > 0 ORDER BY seq LIMIT ?`
export const ENTRIES = `SELECT seq, shard, critical, data FROM outbox
  WHERE seq > ? AND seq <= ? AND length(data) > 0 ORDER BY seq`
export const ANY_ENTRY = 'SELECT 1 FROM outbox WHERE seq > ? AND length(data) > 0 LIMIT 1'
/** Scans the waiting entries, newest first, without an index: used only when a caller waits for MySQL anyway. */
export const LAST_ENTRY = `SELECT seq FROM outbox
  WHERE shard = ? AND seq > ? AND length(data) > 0 ORDER BY seq DESC LIMIT 1`
export const LAST_CRITICAL = `SELECT seq FROM outbox
  WHERE shard = ? AND critical = 1 AND seq > ? ORDER BY seq DESC LIMIT 1`
export const UNDOS = `SELECT seq, undo FROM outbox
  WHERE seq >= ? AND shard = ? AND undo IS NOT NULL ORDER BY seq DESC`
export const DROP_ENTRIES = 'DELETE FROM outbox WHERE seq <= ?'
export const DELETE_ENTRY = 'DELETE FROM outbox WHERE seq = ?'
/** Removes the data of the row that is the counter. */
export const BLANK_ENTRY = "UPDATE outbox SET shard = '', critical = 0, data = x'', undo = NULL WHERE seq = ?"

/** Data and undo of one row together stay below the 2 MB of a row in a Durable Object. */
export const ENTRY_PART_BYTES = 786_432
export const ADD_PART = 'INSERT INTO outbox_parts (seq, kind, part, bytes) VALUES (?, ?, ?, ?)'
export const PARTS = 'SELECT bytes FROM outbox_parts WHERE seq = ? AND kind = ? ORDER BY part'
export const PARTS_SIZE = 'SELECT sum(length(bytes)) AS bytes FROM outbox_parts WHERE seq = ? AND kind = 0'
export const ANY_PART = 'SELECT 1 FROM outbox_parts LIMIT 1'
export const DROP_PARTS = 'DELETE FROM outbox_parts WHERE seq <= ?'
export const DELETE_PARTS = 'DELETE FROM outbox_parts WHERE seq = ?'
