// The points at which a server is killed, and what the drill tells a server that it starts. Shared by the drill and its
// servers.

import type { Batch } from '../../../core/ports/database.ts'
import type { RowChange } from '../../../core/ports/store.ts'

/** The server kills itself there, on the n-th time that it comes by. */
export const OWN_POINTS = [
  'before-takeover',
  'after-takeover',
  'before-store-commit',
  'after-store-commit',
  'before-flush',
  'between-commit-and-answer',
  'after-flush',
  'zombie',
] as const
/** The drill kills it: at any time, or in the course of what the point is named after. */
export const OUTER_POINTS = [
  'random',
  'dropped-answer',
  'database-kill',
  'both-kill',
  'database-pause',
  'drain',
] as const
/** What only class critical survives: the data folder is gone, or an older copy of it comes back. */
export const CRITICAL_POINTS = ['disk-loss', 'old-disk'] as const
/** Moments that no right server has. */
const MUTANT_POINTS = ['before-mark', 'before-local-commit'] as const

type OwnPoint = (typeof OWN_POINTS)[number]
export type Point =
  | OwnPoint
  | (typeof OUTER_POINTS)[number]
  | (typeof CRITICAL_POINTS)[number]
  | (typeof MUTANT_POINTS)[number]

export const MUTANTS = ['fence', 'mark', 'takeover', 'order', 'unknown'] as const
export type Mutant = (typeof MUTANTS)[number]

/** How a server is started, as JSON in its only argument. */
export interface ServerOrder {
  readonly dir: string
  readonly mysql: string
  readonly http: number
  readonly tcp: number
  readonly critical: boolean
  readonly point: Point | null
  /** Counted from 1. */
  readonly nth: number
  readonly mutant: Mutant | null
}

/** What a server tells the drill. */
export type Told =
  | { readonly what: 'ready' | 'dropped' }
  | { readonly what: 'zombie'; readonly batch: PackedBatch }

/** A batch on its way between processes: a table is its name. */
export type PackedBatch = Omit<Batch, 'rows'> & {
  readonly rows: readonly (Omit<RowChange, 'table'> & { readonly table: string })[]
}

export function isOwn(point: Point): boolean {
  return ([...OWN_POINTS, ...MUTANT_POINTS] as readonly string[]).includes(point)
}
