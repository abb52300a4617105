// Rules for statements that Vitess refuses although MySQL or MariaDB executes them. This is not a Vitess parser: it
// matches the words of a statement, so it only detects what a rule names. A text is Vitess's own if it has a VT code.

interface VitessRule {
  /** Matches the output of `bareSql`. */
  readonly pattern: RegExp
  readonly unless?: RegExp
  readonly message: string
  readonly reason: string
}

const UNSUPPORTED = '(errno 1235) (sqlstate 42000)'
const SYNTAX = '(errno 1064) (sqlstate 42000)'

const VITESS_RULES: readonly VitessRule[] = [
  { pattern: /;/, message: `syntax error near ';' ${SYNTAX}`, reason: 'Execute takes one statement' },
  {
    pattern: /\/\*!/,
    message: `syntax error near '/*!' ${SYNTAX}`,
    reason: 'releases of Vitess parse executable comments differently; the driver refuses unusual ones too',
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
    reason: 'the server has no file system for clients',
  },
  {
    pattern: /\binto (outfile|dumpfile)\b/,
    message: `VT12001: unsupported: INTO OUTFILE ${UNSUPPORTED}`,
    reason: 'the server has no file system for clients',
  },
  {
    pattern: /^(create|drop|alter) (database|schema)\b/,
    message: `VT12001: unsupported: create or drop database ${UNSUPPORTED}`,
    reason: 'databases are created in the console of PlanetScale',
  },
  {
    pattern: /^(create|alter|drop)( or replace)?( definer ?= ?\S+)?( aggregate)? (procedure|function|trigger|event)\b/,
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
    reason: 'statements of several sessions share a connection',
  },
  {
    pattern: /\b(get|release|is_free|is_used|release_all)_locks? ?\(/,
    unless: /^select\b.* from dual$/,
    message: `VT12001: unsupported: lock functions outside of SELECT … FROM dual ${UNSUPPORTED}`,
    reason: 'Vitess allows them only there; use a row as a lease instead',
  },
  {
    pattern: /\b(get|release|is_free|is_used|release_all)_locks? ?\(/,
    message: `lock functions need a dedicated session, which this endpoint does not have ${UNSUPPORTED}`,
    reason: 'Vitess would reserve a connection for the session; here the lock would outlive its owner',
  },
  {
    pattern: /^(create|alter)\b.* table\b.*\b(foreign key|references)\b/,
    message: 'VT10001: foreign key constraints are not allowed (errno 1105) (sqlstate HY000)',
    reason: 'disabled by default in PlanetScale',
  },
  {
    pattern: /^(create|alter)\b.*\bengine ?= ?(?!innodb\b)\w/,
    message: `VT12001: unsupported: storage engine other than InnoDB ${UNSUPPORTED}`,
    reason: 'PlanetScale supports only InnoDB',
  },
  {
    pattern: /\bjson_table ?\(/,
    message: `VT12001: unsupported: json_table expressions ${UNSUPPORTED}`,
    reason: 'not supported by Vitess',
  },
  {
    pattern: /^(create|drop|alter)( or replace)? sequence\b|\bnext value for\b|\b(nextval|lastval|setval) ?\(/,
    message: `syntax error near 'sequence' ${SYNTAX}`,
    reason: 'MariaDB only',
  },
  {
    pattern: /^(grant|revoke|(create|alter|drop|rename) (user|role)|set password)\b/,
    message: `VT12001: unsupported: accounts ${UNSUPPORTED}`,
    reason: 'passwords are created in the console of PlanetScale',
  },
  {
    pattern:
      /^(set|use|prepare|execute|deallocate|handler|xa|flush|reset|kill|shutdown|(un)?install|create( or replace)? temporary|(commit|rollback).* (chain|release))\b|@\w* ?:=/,
    unless: /^rollback to\b/,
    message: `this endpoint has no session state ${UNSUPPORTED}`,
    reason: 'Vitess would reserve a connection; here another session may use it next',
  },
]

/** Returns the error text for a statement, null = no rule matches. @param bare from `bareSql` */
export function vitessErrorOf(bare: string): string | null {
  const rule = VITESS_RULES.find(({ pattern, unless }) => pattern.test(bare) && !unless?.test(bare))
  return rule ? `${rule.message}: ${rule.reason}` : null
}

/**
 * Returns the statement in lower case with single spaces, without comments and a final semicolon. `:v` replaces a
 * string and `x` a quoted name.
 */
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
  if (mark === '#' || mark === '--') return indexAfter(sql, '\n', start)
  if (mark === '/*') return indexAfter(sql, '*/', start)
  for (let at = start; at < sql.length; at++) {
    if (sql[at] === '\\' && mark !== '`') at++
    else if (sql[at] === mark) {
      if (sql[at + 1] !== mark) return at + 1
      at++
    }
  }
  return sql.length
}

function indexAfter(sql: string, end: string, start: number): number {
  const at = sql.indexOf(end, start)
  return at < 0 ? sql.length : at + end.length
}
