// The report of `firefly migrate status`: the tables of the game, their writers, and turns that MySQL refused.

import type { SqlClient } from '../core/sql/client.ts'
import type { MigrationPlan, TableState } from '../core/migrate/plan.ts'

export interface MigrationStatus {
  readonly tables: readonly {
    readonly name: string
    readonly state: string
    /** The server's estimate. */
    readonly rows: number | null
    readonly class: string
    readonly owner: string
  }[]
  readonly pending: readonly string[]
  /** The first MAX_OWNERS. */
  readonly owners: readonly {
    readonly owner: string
    readonly epoch: number
    readonly position: number
    readonly since: string
  }[]
  readonly moreOwners: boolean
  /** null = the table of parked turns does not exist. */
  readonly parked: number | null
}

/** On Cloudflare each object is an owner. */
const MAX_OWNERS = 20
const OWNERS = 'SELECT owner, epoch, applied_seq, taken_at FROM firefly_owner ORDER BY owner LIMIT ?'
const PARKED = 'SELECT COUNT(*) FROM firefly_parked'

/** @throws DatabaseError */
export async function readMigrationStatus(
  client: SqlClient,
  { tables, pendingFiles, fireflyTables }: MigrationPlan,
): Promise<MigrationStatus> {
  const query = async (table: string, sql: string, ...params: number[]): Promise<string[][]> => {
    if (!fireflyTables.has(table)) return []
    const { rows } = await client.query({ sql, params })
    return rows.map((row) => row.map(String))
  }
  const owners = await query('firefly_owner', OWNERS, MAX_OWNERS + 1)
  const [parked] = await query('firefly_parked', PARKED)
  return {
    tables: tables.map((state) => {
      const { name, class: kind, owner } = state.table
      return { name, state: stateText(state), rows: state.rows, class: kind, owner }
    }),
    pending: pendingFiles,
    owners: owners.slice(0, MAX_OWNERS).map(([owner, epoch, position, since]) => ({
      owner: owner!,
      epoch: Number(epoch),
      position: Number(position),
      since: `${since} UTC`,
    })),
    moreOwners: owners.length > MAX_OWNERS,
    parked: parked ? Number(parked[0]) : null,
  }
}

export function statusText({ tables, pending, owners, moreOwners, parked }: MigrationStatus): string {
  return [
    ...alignColumns([
      ['TABLE', 'STATE', 'ROWS', 'CLASS', 'OWNER'],
      ...tables.map(({ name, state, rows, class: kind, owner }) => [
        name,
        state,
        rows === null ? '-' : `~${rows}`,
        kind,
        owner,
      ]),
    ]),
    '',
    `Firefly's own tables: ${pending.length === 0 ? 'in place' : `${pending.join(', ')} not run yet`}`,
    ...(parked === null ? [] : [`turns parked because MySQL refused their rows: ${parked}`]),
    ...(owners.length === 0 ? ['no writer yet'] : ['', ...ownerLines(owners)]),
    ...(moreOwners ? [`… and more; these are the first ${MAX_OWNERS}`] : []),
  ].join('\n')
}

function ownerLines(owners: MigrationStatus['owners']): string[] {
  const lines = owners.map(({ owner, epoch, position, since }) => [owner, `${epoch}`, `${position}`, since])
  return alignColumns([['WRITER', 'EPOCH', 'OUTBOX POSITION', 'SINCE'], ...lines])
}

function stateText({ state, isAdopted, missingColumns, missingIndexes }: TableState): string {
  const missing = [
    ...(missingColumns > 0 ? [`${missingColumns} column${missingColumns === 1 ? '' : 's'}`] : []),
    ...(missingIndexes > 0 ? [`${missingIndexes} index${missingIndexes === 1 ? '' : 'es'}`] : []),
  ].join(' and ')
  if (state === 'incomplete') return `${missing} missing`
  if (state === 'adoptable') return missing === '' ? 'adoptable' : `adoptable, adding ${missing}`
  return state === 'in place' && isAdopted ? 'in place, adopted' : state
}

function alignColumns(lines: readonly (readonly string[])[]): string[] {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
}
