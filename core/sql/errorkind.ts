// The kind of an error of MySQL, MariaDB or Vitess: by its number, else by the class of its SQLSTATE. Invariant: an
// error is 'refused' only when the same data would be refused again; every error in doubt is 'unavailable', and the
// flusher finds out whether MySQL still accepts other data (outbox/refusals.ts).

import type { DatabaseErrorKind } from './client.ts'

/** Rights and names: 1044/1049 database, 1045/1698 login, 1142/1143/1227/1370 table, column, privilege and routine. */
const ACCESS_ERRORS = [1044, 1045, 1049, 1142, 1143, 1227, 1370, 1698]
/** Login rules: 1129/1130 host, 1251 old client, 1820/1862 expired password, 3118/4151 locked account, 3159 needs TLS. */
const LOGIN_ERRORS = [1129, 1130, 1251, 1820, 1862, 3118, 3159, 4151]
/**
 * The table has another shape than the game declares, or cannot be written at all: 1054 column, 1064 syntax, 1109/1146
 * table, 1136 column count, 1364 column without default, 1036 read-only table, 1288/1348/1356/1471 view, 1449 definer of
 * a trigger or view, 1305 missing routine, 1812/1814/1932 lost tablespace, 1906/3105 generated column.
 */
const SCHEMA_ERRORS = [
  1036, 1054, 1064, 1109, 1136, 1146, 1288, 1305, 1348, 1356, 1364, 1449, 1471, 1812, 1814, 1906, 1932, 3105,
]
/**
 * Errors of the data whose SQLSTATE is general (HY000, 42000, 08S01), or that a retry cannot fix: 1118 row size, 1139
 * regular expression, 1153 packet, 1197 binary log cache, 1267/1270/1271/3854/3988 collation of a value, 1366 wrong
 * text, 1369 CHECK OPTION of a view, 1439/1411/1441 dates, 1442 trigger that uses its own table, 1467 end of
 * AUTO_INCREMENT, 1526/1591/1748 no partition, 1644 SIGNAL, 1648 value of SIGNAL too long, 1713 undo record, 1761/1762
 * duplicate through a foreign key, 3008 depth of foreign keys, 3819 CHECK, 4025 CHECK of MariaDB, 4035-4044 JSON of MariaDB.
 */
const DATA_ERRORS = [
  1048, 1062, 1118, 1139, 1153, 1197, 1264, 1265, 1267, 1270, 1271, 1292, 1366, 1369, 1406, 1411, 1439, 1441, 1442,
  1451, 1452, 1467, 1526, 1586, 1591, 1644, 1648, 1690, 1713, 1748, 1761, 1762, 3008, 3140, 3141, 3819, 3854, 3988,
  4025, 4035, 4036, 4037, 4038, 4039, 4040, 4041, 4042, 4043, 4044,
]
/** State of the server, although the class of their SQLSTATE (42000) is that of statements. */
const SERVER_ERRORS = [1203, 1226]

const KIND_BY_ERRNO: ReadonlyMap<number, DatabaseErrorKind> = new Map([
  ...kindOfAll('access', [...ACCESS_ERRORS, ...LOGIN_ERRORS]),
  ...kindOfAll('schema', SCHEMA_ERRORS),
  ...kindOfAll('refused', DATA_ERRORS),
  ...kindOfAll('unavailable', SERVER_ERRORS),
])

/**
 * Classes of SQLSTATE, its first two characters: 02 no data, 22 data, 23 constraint, 44 CHECK OPTION, 45 SIGNAL of an
 * author; 0A unsupported, 21 number of columns, 3F schema name, 42 syntax, names and rights; 28 login, 3D database. All
 * others (08 connection, 25 and 40 transaction, 70 interruption, HY000) are temporary or in doubt.
 */
const KIND_BY_CLASS: Readonly<Record<string, DatabaseErrorKind>> = {
  '02': 'refused',
  '22': 'refused',
  '23': 'refused',
  '44': 'refused',
  '45': 'refused',
  '0A': 'schema',
  '21': 'schema',
  '3F': 'schema',
  '42': 'schema',
  '28': 'access',
  '3D': 'access',
}
/** The class that only SIGNAL uses. A trigger may give any number to it, such as that of a server without rights. */
const SIGNAL_CLASS = '45'

/** @param sqlState five characters; '' = unknown */
export function errorKindOf(errno: number, sqlState: string): DatabaseErrorKind {
  const stateClass = sqlState.slice(0, 2)
  if (stateClass === SIGNAL_CLASS) return 'refused'
  return KIND_BY_ERRNO.get(errno) ?? KIND_BY_CLASS[stateClass] ?? 'unavailable'
}

function kindOfAll(kind: DatabaseErrorKind, numbers: readonly number[]): [number, DatabaseErrorKind][] {
  return numbers.map((errno) => [errno, kind])
}
