// The rules by which the local PlanetScale endpoint refuses statements that Vitess refuses.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bareSql, vitessErrorOf } from '../support/planetscale/vitessrules.ts'

test('refuses statements that Vitess refuses, with a reason', () => {
  const REFUSED: readonly (readonly [string, RegExp])[] = [
    ['SELECT 1; SELECT 2', /one statement/],
    ['SELECT /*!80000 1 */', /executable comment/],
    ['INSERT INTO t VALUES (1) RETURNING id', /MariaDB only/],
    ['DELETE FROM t WHERE a = 1\nRETURNING *', /MariaDB only/],
    ['INSERT INTO t (a) VALUES (1) AS new ON DUPLICATE KEY UPDATE a = new.a', /VALUES\(column\)/],
    ['insert into t (a) values (1) as new(b) on duplicate key update a = b', /VALUES\(column\)/],
    ['REPLACE INTO t VALUES (1)', /REPLACE INTO with sharded/],
    ["LOAD DATA INFILE '/etc/passwd' INTO TABLE t", /LOAD/],
    ["SELECT * FROM t INTO OUTFILE '/tmp/x'", /OUTFILE/],
    ['CREATE DATABASE x', /console/],
    ['drop schema x', /console/],
    ['CREATE PROCEDURE p() SELECT 1', /stored/],
    ['CREATE DEFINER = `a`@`b` TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1', /trigger/],
    ['CREATE OR REPLACE FUNCTION f() RETURNS INT RETURN 1', /stored/],
    ['CALL p()', /CALL/],
    ['LOCK TABLES t WRITE', /share a connection/],
    ["UPDATE t SET a = GET_LOCK('x', 1)", /outside of SELECT … FROM dual/],
    ["SELECT GET_LOCK('x', 1)", /outside of SELECT … FROM dual/],
    ["SELECT GET_LOCK('x', 1) FROM dual", /outlive/],
    ['CREATE TABLE a (b INT, FOREIGN KEY (b) REFERENCES c (d))', /VT10001/],
    ['CREATE TABLE a (b INT REFERENCES c (d))', /VT10001/],
    ['ALTER TABLE a ADD CONSTRAINT x FOREIGN KEY (b) REFERENCES c (d)', /VT10001/],
    ['CREATE TABLE a (b INT) ENGINE=MyISAM', /InnoDB/],
    ["SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) x", /json_table/],
    ['CREATE SEQUENCE s', /MariaDB only/],
    ["GRANT ALL ON *.* TO 'x'@'y'", /console/],
    ['SET autocommit = 0', /session state/],
    ['USE mysql', /session state/],
    ['SELECT @a := 1', /session state/],
    ['KILL 1', /session state/],
    ['ROLLBACK AND CHAIN', /session state/],
  ]
  for (const [query, reason] of REFUSED) {
    const text = vitessErrorOf(bareSql(query)) ?? 'not refused'
    assert.match(text, reason, query)
    assert.match(text, /\(errno \d+\) \(sqlstate \w{5}\)/)
  }
})

test('accepts the same words in strings, names and comments', () => {
  const ACCEPTED = [
    "SELECT 'RETURNING; CALL', \"LOAD '' DATA\", 'it''s; \\'; ' FROM `REPLACE``; INTO`",
    'SELECT 1 -- ; LOCK TABLES\n + 1 # ; CALL\n + /* ; GET_LOCK( */ 1;',
    'CREATE TABLE event (id INT, trigger_id INT) ENGINE = InnoDB',
    'INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a)',
    'SELECT a AS load FROM t WHERE returning_at = 1',
    'ROLLBACK TO SAVEPOINT a',
    'UPDATE settings SET a = 1',
  ]
  for (const text of ACCEPTED) assert.equal(vitessErrorOf(bareSql(text)), null, text)
  assert.equal(bareSql(` SELECT\t'a', "b"  FROM \`c\`--\n WHERE x=-1 ; `), 'select :v, :v from x where x=-1')
  assert.equal(bareSql("SELECT 'open; "), 'select :v')
})

test('parses 16 MB of strings and escapes without recursion, in linear time', () => {
  const rows = String.raw`('a''b\\c\'d', "x""y"),`.repeat(600_000)
  const started = process.cpuUsage()
  assert.equal(
    vitessErrorOf(bareSql(`INSERT INTO t VALUES ${rows}('', '') ON DUPLICATE KEY UPDATE a = VALUES(a)`)),
    null,
  )
  assert.equal(bareSql(`'${'\\\\'.repeat(8_000_000)}'`), ':v')
  assert(process.cpuUsage(started).user < 10_000_000)
})
