// What Vitess refuses and MySQL or MariaDB would do. This is not a Vitess parser: it looks at the words of a
// statement, so it misses what no row names, and its wording is Vitess's only where a VT code stands.

interface VitessRule {
  /** On the bare statement: lower case, single spaces, `:v` for a string, `x` for a quoted name, no comment. */
  readonly pattern: RegExp
  readonly unless?: RegExp
  readonly message: string
  readonly reason: string
}

const UNSUPPORTED = '(errno 1235) (sqlstate 42000)'
const SYNTAX = '(errno 1064) (sqlstate 42000)'

const VITESS_RULES: readonly VitessRule[] = [
  {
    pattern: /;/,
    message: `syntax error near ';' ${SYNTAX}`,
    reason: 'Execute takes one statement',
  },
  {
    pattern: /\/\*!/,
    message: `syntax error near '/*!' ${SYNTAX}`,
    reason: 'releases of Vitess read executable comments differently; the driver refuses the odd ones, too',
  },
  {
    pattern: /^(insert|replace|delete|update)\b.* returning\b/,
    message: `syntax error near 'returning' ${SYNTAX}`,
    reason: 'MariaDB only; not in the grammar of Vitess',
  },
  {
    pattern: /^insert\b.*\) as \w+( ?\([^)]*\))? on duplicate key\b/,
    message: `syntax error near 'as' ${SYNTAX}`,
    reason: 'no row alias at least until Vitess 20 (vitess #15509): use VALUES(column)',
  },
  {
    pattern: /^replace\b/,
    message: `VT12001: unsupported: REPLACE INTO with sharded keyspace ${UNSUPPORTED}`,
    reason: 'refused on sharded tables: use INSERT … ON DUPLICATE KEY UPDATE',
  },
  {
    pattern: /^load\b/,
    message: `VT12001: unsupported: LOAD ${UNSUPPORTED}`,
    reason: 'there is no file at the other end',
  },
  {
    pattern: /\binto (outfile|dumpfile)\b/,
    message: `VT12001: unsupported: INTO OUTFILE ${UNSUPPORTED}`,
    reason: 'there is no file at the other end',
  },
  {
    pattern: /^(create|drop|alter) (database|schema)\b/,
    message: `VT12001: unsupported: create or drop database ${UNSUPPORTED}`,
    reason: 'databases are made in the console of PlanetScale',
  },
  {
    pattern:
      /^(create|alter|drop)( or replace)?( definer ?= ?\S+)?( aggregate)? (procedure|function|trigger|event)\b/,
    message: `VT12001: unsupported: stored routine, trigger or event ${UNSUPPORTED}`,
    reason: 'PlanetScale has no stored procedures, triggers and events',
  },
  {
    pattern: /^call\b/,
    message: `VT12001: unsupported: CALL ${UNSUPPORTED}`,
    reason: 'PlanetScale has no stored procedures',
  },
  {
    pattern: /^(lock|unlock) tables?\b/,
    message: `VT12001: unsupported: LOCK TABLES ${UNSUPPORTED}`,
    reason: 'the connection behind a statement is shared',
  },
  {
    pattern: /\b(get|release|is_free|is_used|release_all)_locks? ?\(/,
    unless: /^select\b.* from dual$/,
    message: `VT12001: unsupported: lock functions outside of SELECT … FROM dual ${UNSUPPORTED}`,
    reason: 'Vitess allows them there only; take a row as a lease instead',
  },
  {
    pattern: /\b(get|release|is_free|is_used|release_all)_locks? ?\(/,
    message: `lock functions need a session of their own, which this endpoint does not have ${UNSUPPORTED}`,
    reason: 'Vitess would pin a connection to the session; here the lock would outlive its owner',
  },
  {
    pattern: /^(create|alter)\b.* table\b.*\b(foreign key|references)\b/,
    message: 'VT10001: foreign key constraints are not allowed (errno 1105) (sqlstate HY000)',
    reason: 'off unless the database has them enabled',
  },
  {
    pattern: /^(create|alter)\b.*\bengine ?= ?(?!innodb\b)\w/,
    message: `VT12001: unsupported: storage engine other than InnoDB ${UNSUPPORTED}`,
    reason: 'PlanetScale has InnoDB only',
  },
  {
    pattern: /\bjson_table ?\(/,
    message: `VT12001: unsupported: json_table expressions ${UNSUPPORTED}`,
    reason: 'not supported by Vitess',
  },
  {
    pattern:
      /^(create|drop|alter)( or replace)? sequence\b|\bnext value for\b|\b(nextval|lastval|setval) ?\(/,
    message: `syntax error near 'sequence' ${SYNTAX}`,
    reason: 'MariaDB only',
  },
  {
    pattern: /^(grant|revoke|(create|alter|drop|rename) (user|role)|set password)\b/,
    message: `VT12001: unsupported: accounts ${UNSUPPORTED}`,
    reason: 'passwords are made in the console of PlanetScale',
  },
  {
    pattern:
      /^(set|use|prepare|execute|deallocate|handler|xa|flush|reset|kill|shutdown|(un)?install|create( or replace)? temporary|(commit|rollback).* (chain|release))\b|@\w* ?:=/,
    unless: /^rollback to\b/,
    message: `session state is not kept by this endpoint ${UNSUPPORTED}`,
    reason: 'Vitess would reserve a connection; here the next statement may come from another session',
  },
]

/** The error text for a statement, or null when nothing here speaks against it. @param bare by `bareSql` */
export function vitessErrorOf(bare: string): string | null {
  const found = VITESS_RULES.find(({ pattern, unless }) => pattern.test(bare) && !unless?.test(bare))
  return found ? `${found.message}: ${found.reason}` : null
}

/** The statement without strings, quoted names, comments and a last semicolon; lower case with single spaces. */
export function bareSql(sql: string): string {
  const opening = /['"`#]|--(?=\s|$)|\/\*(?!!)/g
  let bare = ''
  let from = 0
  for (let match = opening.exec(sql); match; match = opening.exec(sql)) {
    const [mark] = match
    bare += sql.slice(from, match.index)
    bare += mark === '`' ? 'x' : mark === "'" || mark === '"' ? ':v' : ' '
    from = tokenEnd(sql, mark, opening.lastIndex)
    opening.lastIndex = from
  }
  bare += sql.slice(from)
  return bare.replace(/\s+/g, ' ').toLowerCase().trim().replace(/ ?;$/, '')
}

function tokenEnd(sql: string, mark: string, start: number): number {
  if (mark === '#' || mark === '--') return after(sql, '\n', start)
  if (mark === '/*') return after(sql, '*/', start)
  for (let at = start; at < sql.length; at++) {
    if (sql[at] === '\\' && mark !== '`') at++
    else if (sql[at] === mark) {
      if (sql[at + 1] !== mark) return at + 1
      at++
    }
  }
  return sql.length
}

function after(sql: string, end: string, start: number): number {
  const at = sql.indexOf(end, start)
  return at < 0 ? sql.length : at + end.length
}
