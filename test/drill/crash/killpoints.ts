// The points at which a server is killed, and the messages between the drill and its servers.

import type { Batch } from '../../../core/ports/database.ts'
import type { RowChange } from '../../../core/ports/store.ts'

/** The server kills itself at the point, on the n-th time that it reaches it. */
export const SELF_KILL_POINTS = [
  'before-takeover',
  'after-takeover',
  'before-store-commit',
  'after-store-commit',
  'before-flush',
  'between-commit-and-answer',
  'after-flush',
  'zombie',
] as const
/** The drill kills the server: at a random time, or during the event that the point is named after. */
export const EXTERNAL_POINTS = [
  'random',
  'dropped-answer',
  'database-kill',
  'both-kill',
  'database-pause',
  'drain',
] as const
/** Only class critical survives these: the data folder is lost, or an older copy of it is restored. */
export const CRITICAL_POINTS = ['disk-loss', 'old-disk'] as const
/** Only mutants reach these. */
const MUTANT_POINTS = ['before-mark', 'before-local-commit'] as const

export type KillPoint =
  | (typeof SELF_KILL_POINTS)[number]
  | (typeof EXTERNAL_POINTS)[number]
  | (typeof CRITICAL_POINTS)[number]
  | (typeof MUTANT_POINTS)[number]

export const MUTANTS = ['fence', 'mark', 'takeover', 'order', 'unknown'] as const
export type Mutant = (typeof MUTANTS)[number]

/** The argument of a server. */
export interface ServerOrder {
  readonly dir: string
  readonly mysql: string
  readonly http: number
  readonly tcp: number
  readonly critical: boolean
  readonly point: KillPoint | null
  /** Counted from 1. */
  readonly nth: number
  readonly mutant: Mutant | null
}

export type ServerMessage = { readonly what: 'dropped' } | { readonly what: 'zombie'; readonly batch: PackedBatch }

/** A batch that is sent between processes: a table is replaced by its name. */
export type PackedBatch = Omit<Batch, 'rows'> & {
  readonly rows: readonly (Omit<RowChange, 'table'> & { readonly table: string })[]
}

export function isSelfKill(point: KillPoint): boolean {
  return ([...SELF_KILL_POINTS, ...MUTANT_POINTS] as readonly string[]).includes(point)
}
