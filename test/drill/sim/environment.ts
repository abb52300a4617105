// What the parts of one run share: time, randomness, trace, log, database. Invariant: it names no part of the simulation, so
// every part can import it and none imports the whole.

import type { Game } from '../../../core/game/game.ts'
import type { TableDefinition } from '../../../core/game/table.ts'
import type { MemoryDatabase } from '../../../core/testing/database.ts'
import type { Random } from '../../support/random.ts'
import type { RequestLog } from '../market/requestlog.ts'
import type { ProcessLifetime } from './lifetime.ts'
import type { MysqlCheck } from './mysqlcheck.ts'
import type { FaultName, Profile } from './profile.ts'
import type { Trace } from './trace.ts'
import type { VirtualClock } from './virtualclock.ts'

/** Where a process can be ended between two of its steps. */
export const CRASH_POINTS = [
  'commit', // before a write set is written
  'committed', // after it
  'takeover', // a takeover is sent to MySQL
  'load', // rows are requested from MySQL
  'apply', // a batch is sent to MySQL
  'applied', // MySQL has applied a batch, and its answer has not arrived
  'answered', // that answer arrives
  'reply', // an answer is about to be sent to a client
  'deliver', // a durable cast arrives
] as const
export type CrashPoint = (typeof CRASH_POINTS)[number]

/** One sequence of random numbers each, in the order of their forks from the seed. */
export type RandomStreams = Readonly<
  Record<'product' | 'disk' | 'connections' | 'shardNetwork' | 'mysql' | 'faults' | 'players', Random>
>

export interface SimEnvironment {
  readonly profile: Profile
  readonly random: RandomStreams
  readonly clock: VirtualClock
  readonly trace: Trace
  readonly log: RequestLog
  readonly game: Game
  readonly ledger: TableDefinition
  readonly purses: TableDefinition
  readonly database: MemoryDatabase
  readonly mysqlCheck: MysqlCheck
  /** A process reaches a crash point. It may be over afterwards. */
  reachPoint(point: CrashPoint, process: ProcessLifetime): void
  /** Counts an injected fault. */
  faultInjected(fault: FaultName): void
}
