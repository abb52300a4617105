// What adopted tables and servers refuse, each as statements that produce it on a real server; and an owner that flushes
// to that server in real time.

import { Flusher } from '../../core/outbox/flusher.ts'
import { systemClock } from '../../core/node/clock.ts'
import type { TableDefinition } from '../../core/game/table.ts'
import type { Database } from '../../core/ports/database.ts'
import type { Outcome, Row, RowChange } from '../../core/ports/store.ts'
import type { DatabaseErrorKind } from '../../core/sql/client.ts'
import { MemoryLocalStore } from '../../core/testing/localstore.ts'
import { MemoryLog } from '../../core/testing/memory.ts'
import { parseShardName, type ShardId } from '../../core/wire/shardid.ts'
import { turnWriteSet } from '../unit/tieredstorefixture.ts'

export interface Refusal {
  readonly name: string
  /** Run before; `T` is the table with the columns id, uid, n, note and info, and `P` a table of the test. */
  readonly setup: readonly string[]
  /** Makes MySQL accept the row. */
  readonly repair?: readonly string[]
  /** Values of the refused row besides id and uid. */
  readonly row?: Row
  readonly kind: DatabaseErrorKind
  /** Numbers of MySQL and MariaDB; one = both have it. */
  readonly errno: readonly number[]
  /** Only this server has the feature. */
  readonly only?: 'mysql' | 'mariadb'
}

const trigger = (body: string): string => `CREATE TRIGGER T_refuse BEFORE INSERT ON T FOR EACH ROW ${body}`
const signal = (state: string, information = ''): string[] => [
  trigger(`IF NEW.n = 13 THEN SIGNAL SQLSTATE '${state}'${information}; END IF`),
]
const DROP_TRIGGER = ['DROP TRIGGER T_refuse']

export const REFUSALS: readonly Refusal[] = [
  {
    name: 'no partition for a value',
    setup: [
      'ALTER TABLE T DROP PRIMARY KEY, DROP KEY shard_uid, ADD PRIMARY KEY (id, n)',
      'ALTER TABLE T PARTITION BY RANGE (n) (PARTITION p0 VALUES LESS THAN (10))',
    ],
    repair: ['ALTER TABLE T ADD PARTITION (PARTITION p1 VALUES LESS THAN (100))'],
    kind: 'refused',
    errno: [1526],
  },
  { name: 'CHECK', setup: ['ALTER TABLE T ADD CHECK (n < 10)'], kind: 'refused', errno: [3819, 4025] },
  { name: 'SIGNAL', setup: signal('45000'), repair: DROP_TRIGGER, kind: 'refused', errno: [1644] },
  { name: 'SIGNAL with an odd SQLSTATE', setup: signal('XA100'), kind: 'refused', errno: [1644] },
  { name: 'SIGNAL with the SQLSTATE of a lost connection', setup: signal('08S01'), kind: 'refused', errno: [1644] },
  { name: 'SIGNAL with the SQLSTATE of a deadlock', setup: signal('40001'), kind: 'refused', errno: [1644] },
  {
    name: 'SIGNAL with the number of a read-only server',
    setup: signal('45000', ' SET MYSQL_ERRNO = 1290'),
    kind: 'refused',
    errno: [1290],
  },
  {
    name: 'SIGNAL with a number and a SQLSTATE of its own',
    setup: signal('ZZ999', ' SET MYSQL_ERRNO = 30001'),
    repair: DROP_TRIGGER,
    kind: 'unavailable',
    errno: [30001],
  },
  {
    name: 'SIGNAL with the number and the SQLSTATE of a full server',
    setup: signal('08004', ' SET MYSQL_ERRNO = 1040'),
    kind: 'unavailable',
    errno: [1040],
  },
  { name: 'SIGNAL not found', setup: signal('02000'), kind: 'refused', errno: [1643] },
  {
    name: 'SIGNAL with a message that is too long',
    setup: [
      trigger(`BEGIN DECLARE m TEXT DEFAULT REPEAT('m', 500);
        IF NEW.n = 13 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = m; END IF; END`),
    ],
    kind: 'refused',
    errno: [1648, 1644],
  },
  {
    name: 'trigger that uses its own table',
    setup: [trigger('IF NEW.n = 13 THEN UPDATE T SET n = 1; END IF')],
    kind: 'refused',
    errno: [1442],
  },
  {
    name: 'trigger that calls a missing procedure',
    setup: [trigger('IF NEW.n = 13 THEN CALL no_such_procedure(); END IF')],
    repair: DROP_TRIGGER,
    kind: 'schema',
    errno: [1305],
  },
  {
    name: 'trigger of a user who was removed',
    setup: [
      `CREATE DEFINER = 'removed_user'@'localhost' TRIGGER T_refuse BEFORE INSERT ON T FOR EACH ROW SET NEW.n = NEW.n`,
    ],
    repair: DROP_TRIGGER,
    kind: 'schema',
    errno: [1449],
  },
  {
    name: 'foreign key of the owner',
    setup: [
      'CREATE TABLE P (n INT UNSIGNED PRIMARY KEY) ENGINE=InnoDB',
      'ALTER TABLE T MODIFY n INT UNSIGNED NOT NULL, ADD FOREIGN KEY (n) REFERENCES P (n)',
    ],
    repair: ['INSERT INTO P VALUES (13)'],
    kind: 'refused',
    errno: [1452],
  },
  {
    name: 'unique value',
    setup: ['ALTER TABLE T ADD UNIQUE (n)', `INSERT INTO T (id, uid, n) VALUES ('x', 'x', 13)`],
    kind: 'refused',
    errno: [1062],
  },
  {
    name: 'number out of range',
    setup: ['ALTER TABLE T MODIFY n TINYINT UNSIGNED NOT NULL'],
    row: { n: 300 },
    kind: 'refused',
    errno: [1264],
  },
  {
    name: 'text that is too long',
    setup: ['ALTER TABLE T MODIFY note VARCHAR(3)'],
    row: { note: 'roberta' },
    kind: 'refused',
    errno: [1406],
  },
  {
    name: 'text outside of the character set',
    setup: ['ALTER TABLE T MODIFY note VARCHAR(200) CHARACTER SET latin1'],
    row: { note: '🐉' },
    kind: 'refused',
    errno: [1366],
  },
  {
    name: 'value outside of an ENUM',
    setup: [`ALTER TABLE T MODIFY note ENUM('a', 'b')`],
    row: { note: 'c' },
    kind: 'refused',
    errno: [1265],
  },
  {
    name: 'NULL',
    setup: ['ALTER TABLE T MODIFY note VARCHAR(200) NOT NULL'],
    row: { note: null },
    kind: 'refused',
    errno: [1048],
  },
  {
    name: 'text instead of a number',
    setup: ['ALTER TABLE T MODIFY note INT'],
    row: { note: 'x' },
    kind: 'refused',
    errno: [1366],
  },
  {
    name: 'text instead of a date',
    setup: ['ALTER TABLE T MODIFY note DATETIME'],
    row: { note: 'x' },
    kind: 'refused',
    errno: [1292],
  },
  {
    name: 'text instead of JSON',
    setup: ['ALTER TABLE T MODIFY note JSON'],
    row: { note: '{' },
    kind: 'refused',
    errno: [3140, 4025],
  },
  {
    name: 'text instead of JSON in a generated column',
    setup: [`ALTER TABLE T ADD level INT AS (JSON_EXTRACT(note, '$.level')) STORED`],
    row: { note: '{' },
    kind: 'refused',
    errno: [3141, 4037, 4038],
  },
  {
    name: 'arithmetic of a generated column',
    setup: ['ALTER TABLE T ADD half TINYINT UNSIGNED AS (n * 100) STORED'],
    kind: 'refused',
    errno: [1264],
  },
  {
    name: 'column that is generated by now',
    setup: ['ALTER TABLE T DROP COLUMN note, ADD note VARCHAR(200) AS (CONCAT(n)) STORED'],
    repair: ['ALTER TABLE T DROP COLUMN note, ADD note VARCHAR(200)'],
    row: { note: 'x' },
    kind: 'schema',
    errno: [3105, 1906],
  },
  {
    name: 'view with a condition',
    setup: ['RENAME TABLE T TO P', 'CREATE VIEW T AS SELECT * FROM P WHERE n < 10 WITH CHECK OPTION'],
    kind: 'refused',
    errno: [1369],
  },
  {
    name: 'view that cannot be written',
    setup: ['RENAME TABLE T TO P', 'CREATE VIEW T AS SELECT DISTINCT * FROM P'],
    repair: ['DROP VIEW T', 'RENAME TABLE P TO T'],
    kind: 'schema',
    errno: [1471],
  },
  {
    name: 'view of a missing table',
    setup: ['RENAME TABLE T TO P', 'CREATE VIEW T AS SELECT * FROM P', 'DROP TABLE P'],
    kind: 'schema',
    errno: [1356],
  },
  { name: 'table that was dropped', setup: ['DROP TABLE T'], kind: 'schema', errno: [1146] },
  {
    name: 'table that was renamed',
    setup: ['RENAME TABLE T TO P'],
    repair: ['RENAME TABLE P TO T'],
    kind: 'schema',
    errno: [1146],
  },
  {
    name: 'column that was dropped',
    setup: ['ALTER TABLE T DROP COLUMN n'],
    repair: ['ALTER TABLE T ADD n INT UNSIGNED'],
    kind: 'schema',
    errno: [1054],
  },
  {
    name: 'unknown column without a default',
    setup: ['ALTER TABLE T ADD guild VARCHAR(20) NOT NULL'],
    repair: ['ALTER TABLE T DROP COLUMN guild'],
    kind: 'schema',
    errno: [1364],
  },
  { name: 'table without its data file', setup: ['ALTER TABLE T DISCARD TABLESPACE'], kind: 'schema', errno: [1814] },
  {
    name: 'end of AUTO_INCREMENT in a trigger',
    setup: [
      'CREATE TABLE P (i TINYINT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 127',
      'INSERT INTO P VALUES ()',
      trigger('IF NEW.n = 13 THEN INSERT INTO P VALUES (); END IF'),
    ],
    kind: 'refused',
    errno: [1062, 1467, 167],
  },
]

/** An owner of shards whose outbox is flushed to a real server. */
export class RealOwner {
  readonly name: string
  readonly log = new MemoryLog()
  readonly #local = new MemoryLocalStore({ clock: systemClock })
  readonly #activations = new Map<string, number>()
  readonly #database: Database
  readonly #tables: ReadonlyMap<string, TableDefinition>
  #flusher: Flusher

  constructor(name: string, database: Database, tables: readonly TableDefinition[]) {
    this.name = name
    this.#database = database
    this.#tables = new Map(tables.map((table) => [table.name, table]))
    this.#flusher = this.#createFlusher()
  }

  get flusher(): Flusher {
    return this.#flusher
  }

  /** Commits a turn in the Store; resolves when MySQL has it or has refused it. */
  commitTurn(shard: ShardId, rows: RowChange[], critical: boolean): { seq: number; outcome: Promise<Outcome> } {
    const activation = this.#activations.get(shard.key) ?? this.#local.open(shard).activation
    this.#activations.set(shard.key, activation)
    const committed = this.#local.commit(turnWriteSet(this.#local, shard, activation, rows, { critical }))
    if (committed instanceof Promise || committed.kind !== 'committed') throw new Error('the Store did not commit')
    const seq = committed.seq!
    this.#flusher.entryCommitted(seq)
    const name = `${shard.contract}/${shard.key}`
    const wait = critical ? this.#flusher.waitForCommit(seq, name) : this.#flusher.waitUntilSettled(seq, name)
    return { seq, outcome: Promise.resolve(wait).then((outcome) => this.#takeBack(shard, outcome)) }
  }

  /** As the engine of the shard does. */
  #takeBack(shard: ShardId, outcome: Outcome): Outcome {
    if (outcome.kind !== 'refused') return outcome
    void this.#local.reject(shard, outcome.seq, null)
    this.#activations.delete(shard.key)
    this.#flusher.turnsRejected(`${shard.contract}/${shard.key}`, outcome.seq)
    return outcome
  }

  /** Starts the next process on the same Store. */
  async restart(): Promise<void> {
    await this.#flusher.stop()
    this.#flusher = this.#createFlusher()
    this.#flusher.start()
  }

  #createFlusher(): Flusher {
    const local = this.#local
    return new Flusher({
      owner: this.name,
      outbox: local.outboxOf('owner'),
      database: this.#database,
      tables: this.#tables,
      clock: systemClock,
      log: this.log,
      readRow: (shard, table, key) => local.row(parseShardName(shard), table, key),
      isLoaded: () => true,
      reject: async (shard, seq) => {
        this.#activations.delete(parseShardName(shard).key)
        return local.reject(parseShardName(shard), seq, null)
      },
    })
  }
}
