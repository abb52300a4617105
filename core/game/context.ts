// What a handler sees: `c`, the turn it runs in. Types only; core/turn/turn.ts is behind them.
// A context is valid during its own turn and says so clearly when it is used later.

import type {
  Args,
  CastNames,
  CommandNames,
  Contract,
  DataOf,
  Entries,
  EventNames,
  InputOf,
  OutputOf,
} from '../wire/contract.ts'
import type { Fields, Infer } from '../wire/type.ts'
import type { Cached } from './cacheable.ts'
import type { Table, TableTypes } from './table.ts'

/** One method per event of the contract. The body is encoded once, however many receive it. */
export type Emit<E extends Entries> = {
  readonly [K in EventNames<E>]: (...data: Args<DataOf<E[K]>>) => void
}

/** Commands of another shard. */
export interface ShardHandle<E extends Entries, A extends NamedTypes = NamedTypes> {
  /** Waits for the answer; rejects with CallError (DEADLINE, CYCLE, …) or Refusal. Never hangs. */
  readonly call: {
    readonly [K in Exclude<CommandNames<E>, CastNames<E>>]: (
      ...input: Args<InputOf<E[K]>>
    ) => Promise<OutputOf<E[K]>>
  }
  /**
   * Leaves when the turn has committed, in order; dropped when the turn throws. A cast of a command that is declared
   * `durable` is a row of the turn: it is delivered until its shard has answered, takes effect there exactly once, and
   * `answer` names the hook of this shard that hears how it ended.
   */
  readonly cast: {
    readonly [K in CommandNames<E>]: (...input: CastArgs<InputOf<E[K]>, A>) => void
  }
}
type CastArgs<Input, A extends NamedTypes> = [...input: Args<Input>, answer?: AnswerTo<A>]
/** The hook that hears the answer, and what it is given besides. */
export type AnswerTo<A extends NamedTypes> = {
  readonly [N in keyof A & string]: { readonly answer: N } & (Record<never, never> extends A[N]
    ? { readonly data?: A[N] }
    : { readonly data: A[N] })
}[keyof A & string]

/** How a durable cast ended. The output is that of the command that was cast, as its contract checked it. */
export type CastAnswer =
  | { readonly ok: true; readonly output: unknown }
  /** A refusal that the other contract declares, or a system code such as UNKNOWN_CONTRACT, BAD_INPUT, INTERNAL. */
  | { readonly ok: false; readonly code: string; readonly message: string }

/** What a shard's rows look like from a turn. Reads see the turn's own changes. */
export type Rows<R extends Tables> = {
  readonly [N in keyof R]: R[N] extends Table<infer Types> ? TableMethods<Types> : never
}
export type Tables = Record<string, Table>

export interface TableMethods<Types extends TableTypes> {
  /** The row of this shard with that key (without the shard's own column). @throws RowError for a bad value */
  get(...key: Types['key']): RowOf<Types> | undefined
  /** Rows of this shard by foreign keys, in the order of their keys. @throws RowError for a bad column, value or limit */
  all(by?: Types['by'], options?: ListOptions): RowOf<Types>[]
  /** @throws RowError for a bad value, a key or unique value that is taken, a row over 2 MB */
  insert(row: Types['insert']): Types['auto'] extends true ? Promise<RowOf<Types>> : RowOf<Types>
  /**
   * Reads the row again that another program wrote in MySQL; undefined = it was deleted, or moved to another shard.
   * @throws RowError for a bad value, a row that this turn has changed, one that is parked; CallError RETRY_LATER
   */
  invalidate(...key: Types['key']): Promise<RowOf<Types> | undefined>
}
export interface ListOptions {
  /** Default: all. */
  readonly limit?: number
  /** Last key first. */
  readonly descending?: boolean
}

/** One row: its columns, always as the turn sees them now, and its verbs. */
export type RowOf<Types extends TableTypes> = Readonly<Types['row']> & RowMethods<Types>
export interface RowMethods<Types extends TableTypes> {
  /** @throws RowError for a bad value, a unique value that is taken, a row over 2 MB or deleted */
  update(patch: Types['patch']): void
  /** Adds to a number and returns the sum. @throws RowError when it leaves the column's range */
  increment<C extends NumericColumn<Types['patch']>>(
    column: C,
    by: Types['patch'][C] & (number | bigint),
  ): Types['patch'][C] & (number | bigint)
  delete(): void
  /** All columns at this moment. */
  readonly values: Readonly<Types['row']>
}
type NumericColumn<P> = {
  [K in keyof P & string]-?: NonNullable<P[K]> extends number | bigint ? K : never
}[keyof P & string]

export type NamedTypes = Record<string, unknown>

export interface Kv<F extends Fields> {
  /** The value as this turn sees it; undefined = never set or deleted. Frozen: set a new value to change it. */
  get<K extends keyof F & string>(name: K): Infer<F[K]> | undefined
  /** Durable before the reply leaves. @throws InputError when the value breaks its type or the shard's bound */
  set<K extends keyof F & string>(name: K, value: Infer<F[K]>): void
  delete(name: keyof F & string): void
}

/** What ticks, timers and commands share. */
export interface Context<
  E extends Entries = Entries,
  Code extends string = string,
  State = unknown,
  K extends Fields = Fields,
  T extends NamedTypes = NamedTypes,
  R extends Tables = Tables,
  A extends NamedTypes = NamedTypes,
> {
  readonly key: string
  /** Volatile: gone with the activation, unless a snapshot brings it back. Not rolled back by a throw. */
  readonly state: State
  /** Small durable key-value state. */
  readonly kv: Kv<K>
  /** Durable rows, by the name under which the shard lists its tables. */
  readonly rows: Rows<R>
  /**
   * The reply of this turn leaves only when MySQL has everything that this shard wrote so far; REJECTED, with the turn
   * taken back, while an earlier one stands parked.
   */
  save(): void
  /** A recomputable value of this process, see `cacheable`. */
  cached<Params, Value>(what: Cached<Params, Value>, params: Params): Promise<Value>
  /** Wall clock in milliseconds; one value for the whole turn. */
  readonly now: number
  /** 0 <= x < 1, from the host's randomness. */
  random(): number
  /** Members of the shard. */
  readonly size: number
  /** To every member. */
  readonly broadcast: Emit<E>
  /** To the members of a group. */
  group(name: string): Emit<E>
  /** To the member on a seat; nobody sits there = nothing is sent. */
  to(seat: number): Emit<E>
  /** A player, wherever it is connected; nobody of that uid is there = nothing happens. */
  user(uid: string): User<E>
  /** Another shard, or a service (without key). */
  at<E2 extends Entries, Code2 extends string>(
    contract: Contract<E2, Code2>,
    key?: string,
  ): ShardHandle<E2, A>
  /** A durable timer of this shard: runs once after `ms`, also after a restart. Same name again = moved. */
  after<N extends keyof T & string>(ms: number, name: N, ...data: TimerArgs<T[N]>): void
  /** A volatile timer: gone with the activation. */
  later<N extends keyof T & string>(ms: number, name: N, ...data: TimerArgs<T[N]>): void
  /** Stops the durable and the volatile timer of that name. */
  cancel(name: keyof T & string): void
  /** The declared refusal to throw: `throw c.fail('NO_ITEM')`. The turn is rolled back. */
  fail(code: Code, message?: string): Error
  readonly log: ContextLog
}
/** A uid's session, whatever connection carries it. Leaves when the turn has committed. */
export interface User<E extends Entries = Entries> {
  /** Events of this shard's contract; a client hears them by `game.on(Contract, event, …)`. */
  readonly push: Emit<E>
  /** Ends its session: KICKED with this reason, 1..64 of A-Z a-z 0-9 _ -; its resume tokens die. */
  kick(reason?: string): void
}
export type TimerArgs<Data> = Record<never, never> extends Data ? [data?: Data] : [data: Data]

export interface ContextLog {
  info(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
}

/** A turn that a session caused: commands, `leave` and `rejoin`. */
export interface SessionContext<
  E extends Entries = Entries,
  Code extends string = string,
  State = unknown,
  K extends Fields = Fields,
  T extends NamedTypes = NamedTypes,
  R extends Tables = Tables,
  A extends NamedTypes = NamedTypes,
> extends Context<E, Code, State, K, T, R, A> {
  /** Who speaks, as 32 hex digits; '' when another shard calls. */
  readonly session: string
  /** Who has logged in, '' = nobody. */
  readonly uid: string
  readonly joined: boolean
  /** A small number, unique among the members. @throws Error before `join` */
  readonly seat: number
  /** Becomes a member (and of the groups); repeated calls only add groups. Returns the seat. */
  join(...groups: string[]): number
  /** Without groups: is no member any more. */
  leave(...groups: string[]): void
  /**
   * From now on this session means `key` when it speaks to shards of that contract: how a player reaches the own shard,
   * and the only way to one that is `.bound()`. Takes effect before the answer of this turn.
   */
  bind(contract: Contract, key: string): void
  /**
   * This session is that of `uid` from now on: it reaches shards for `players`, and no other session is of that uid. Waits
   * for the uid's session shard, so a service is the place for it. Takes effect before the answer of this turn.
   * @throws InputError for a bad uid; CallError ALREADY_ONLINE where the game refuses a second login, UNAVAILABLE, DEADLINE
   */
  login(uid: string): Promise<void>
  /** To the session that speaks. */
  readonly push: Emit<E>
  /** To every member but the one who speaks. */
  readonly others: Emit<E>
}
