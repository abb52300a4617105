-- What Firefly keeps in MySQL beside a game's own tables: who writes (owner), what critical turns leave (channel, cast),
-- what MySQL refused (parked), and what was done to the schema (table, migration, setting). Runs on MySQL 8, Vitess and
-- MariaDB 10.11, and again without harm, because a migration that was interrupted is repeated.
-- One statement ends with `;` at the end of a line; a line that begins with two dashes is a comment.

-- The fence: whoever has the highest epoch may write. applied_seq belongs to the outbox of the store store_id.
CREATE TABLE IF NOT EXISTS firefly_owner (
  owner VARCHAR(190) NOT NULL,
  epoch BIGINT UNSIGNED NOT NULL,
  applied_seq BIGINT UNSIGNED NOT NULL,
  store_id CHAR(32) NOT NULL,
  taken_at DATETIME(3) NOT NULL,
  PRIMARY KEY (owner)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The mark and the unacknowledged replies of a channel, as its last critical turn left them.
CREATE TABLE IF NOT EXISTS firefly_channel (
  shard VARCHAR(170) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  id VARCHAR(170) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  mark BIGINT UNSIGNED NOT NULL,
  replies LONGBLOB NOT NULL,
  PRIMARY KEY (shard, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Durable casts of critical turns that have no answer yet.
CREATE TABLE IF NOT EXISTS firefly_cast (
  shard VARCHAR(170) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  sequence BIGINT UNSIGNED NOT NULL,
  data LONGBLOB NOT NULL,
  PRIMARY KEY (shard, sequence)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Turns whose rows MySQL refused: an operator decides.
CREATE TABLE IF NOT EXISTS firefly_parked (
  owner VARCHAR(190) NOT NULL,
  seq BIGINT UNSIGNED NOT NULL,
  shard VARCHAR(170) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  error VARCHAR(1000) NOT NULL,
  data LONGBLOB NOT NULL,
  parked_at DATETIME(3) NOT NULL,
  PRIMARY KEY (owner, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The game's tables as they were last migrated; columns is JSON.
CREATE TABLE IF NOT EXISTS firefly_table (
  name VARCHAR(64) NOT NULL,
  columns LONGTEXT NOT NULL,
  adopted TINYINT NOT NULL,
  applied_at DATETIME(3) NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The files of this folder that were run.
CREATE TABLE IF NOT EXISTS firefly_migration (
  number INT NOT NULL,
  name VARCHAR(190) NOT NULL,
  checksum CHAR(64) NOT NULL,
  applied_at DATETIME(3) NOT NULL,
  PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What all processes of the game must agree on.
CREATE TABLE IF NOT EXISTS firefly_setting (
  name VARCHAR(190) NOT NULL,
  value LONGTEXT NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
