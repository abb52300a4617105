// The context `c` of a handler: the turn in which it runs. Types only; core/turn/turn.ts implements them. Invariant: a context
// is valid during its own turn, and throws a clear error when it is used later.

import type {
  Args,
  CastNames,
  CommandNames,
  Contract,
  DataOf,
  Entries,
  EventNames,
  InputOf,
  NumberOf,
  OutputOf,
  ShardKeyArgs,
} from '../wire/contract.ts'
import type { Fields, Infer } from '../wire/type.ts'
import type { Cached } from './cacheable.ts'
import type { Table, TableTypes } from './table.ts'

/** One method per event of the contract. The body is encoded once for all receivers. */
export type Emit<E extends Entries> = {
  readonly [K in EventNames<E>]: (...data: Args<DataOf<E[K]>>) => void
}

/** Commands of another shard. */
export interface ShardHandle<E extends Entries, A extends AnswerTypes = AnswerTypes> {
  /** Waits for the answer; rejects with CallError (DEADLINE, CYCLE, …) or Refusal. Always settles. */
  readonly call: {
    readonly [K in Exclude<CommandNames<E>, CastNames<E>>]: (...input: Args<InputOf<E[K]>>) => Promise<OutputOf<E[K]>>
  }
  /**
   * Sent when the turn has committed, in order; dropped when the turn throws. A cast of a `durable` command is a row of the
   * turn: it is delivered until its target has answered, takes effect there exactly once, and `answer` names the hook of
   * this shard that receives the result.
   */
  readonly cast: {
    readonly [K in CommandNames<E>]: (...input: CastArgs<E[K], A>) => void
  }
}
type CastArgs<C, A extends AnswerTypes> = [...input: Args<InputOf<C>>, answer?: AnswerTo<A, NumberOf<C>>]
/** The hook that receives the answer, and its additional data. Only hooks of that command. */
export type AnswerTo<A extends AnswerTypes, CommandNumber> = {
  readonly [N in keyof A & string]: CommandNumber extends A[N]['number'] ? NamedAnswer<N, A[N]['data']> : never
}[keyof A & string]
type NamedAnswer<N, Data> = { readonly answer: N } & (Record<never, never> extends Data
  ? { readonly data?: Data }
  : { readonly data: Data })
/** By the name of the hook: its additional data, and the number of the command that it is for. */
export type AnswerTypes = Record<string, { readonly data: unknown; readonly number: number }>

/** The result of a durable cast. The output is that of the command, validated by its contract. */
export type CastAnswer<Output = unknown> =
  | { readonly ok: true; readonly output: Output }
  /** A refusal that the other contract declares, or a system code such as UNKNOWN_CONTRACT, BAD_INPUT, INTERNAL. */
  | { readonly ok: false; readonly code: string; readonly message: string }

/** The rows of a shard in a turn. Reads include the turn's own changes. */
export type Rows<R extends Tables> = {
  readonly [N in keyof R]: R[N] extends Table<infer Types> ? TableMethods<Types> : never
}
/** The tables of a kind of shard, by the name in it. */
export type Tables = Record<string, Table>

/** The methods of one table in one turn: `c.rows.NAME`. */
export interface TableMethods<Types extends TableTypes> {
  /** The row of this shard with that key (without the shardKey column). @throws RowError for an invalid value */
  get(...key: Types['key']): RowOf<Types> | undefined
  /** Rows of this shard by foreign keys, in key order. @throws RowError for an invalid column, value or limit */
  all(by?: Types['by'], options?: ListOptions): RowOf<Types>[]
  /**
   * Adds a row; of a table with `ids: 'auto'` a promise, because MySQL gives the key.
   * @throws RowError for an invalid value, a duplicate key or unique value, a row over 2 MB
   */
  insert(row: Types['insert']): Types['auto'] extends true ? Promise<RowOf<Types>> : RowOf<Types>
  /**
   * Rereads a row that another program wrote in MySQL; undefined = it was deleted, or moved to another shard.
   * @throws RowError for an invalid value, a row that this turn has changed, a parked row; CallError RETRY_LATER
   */
  invalidate(...key: Types['key']): Promise<RowOf<Types> | undefined>
}
/** Options of `all`. */
export interface ListOptions {
  /** Default: all. */
  readonly limit?: number
  /** Last key first. */
  readonly descending?: boolean
}

/** One row: its columns, always current for the turn, and its methods. */
export type RowOf<Types extends TableTypes> = Readonly<Types['row']> & RowMethods<Types>
/** The methods of a row. */
export interface RowMethods<Types extends TableTypes> {
  /** Changes columns. @throws RowError for an invalid value, a duplicate unique value, a row over 2 MB, a deleted row */
  update(patch: Types['patch']): void
  /** Adds to a number and returns the sum. @throws RowError when the sum is outside the column's range */
  increment<C extends NumericColumn<Types['patch']>>(
    column: C,
    by: Types['patch'][C] & (number | bigint),
  ): Types['patch'][C] & (number | bigint)
  /** Deletes the row. */
  delete(): void
  /** A copy of all columns. */
  readonly values: Readonly<Types['row']>
}
type NumericColumn<P> = {
  [K in keyof P & string]-?: NonNullable<P[K]> extends number | bigint ? K : never
}[keyof P & string]

/** The data of timers by name. */
export type NamedTypes = Record<string, unknown>

/** The small durable values of a shard: `c.kv`. */
export interface Kv<F extends Fields> {
  /** The value in this turn; undefined = never set, or deleted. Frozen: set a new value to change it. */
  get<K extends keyof F & string>(name: K): Infer<F[K]> | undefined
  /** Durable before the reply is sent. @throws InputError when the value violates its type or the shard's bound */
  set<K extends keyof F & string>(name: K, value: Infer<F[K]>): void
  /** Removes a value; durable before the reply is sent. */
  delete(name: keyof F & string): void
}

/** What ticks, timers and commands have in common. */
export interface Context<
  E extends Entries = Entries,
  Code extends string = string,
  State = unknown,
  K extends Fields = Fields,
  T extends NamedTypes = NamedTypes,
  R extends Tables = Tables,
  A extends AnswerTypes = AnswerTypes,
> {
  /** The key of this shard. */
  readonly key: string
  /** Volatile: lost with the activation unless a snapshot restores it. A throw does not roll it back. */
  readonly state: State
  /** Small durable key-value state. */
  readonly kv: Kv<K>
  /** Durable rows, by the table's name in this shard. */
  readonly rows: Rows<R>
  /**
   * Delays the reply of this turn until MySQL has committed everything that this shard wrote so far; REJECTED, with the
   * turn undone, while an earlier turn is parked.
   */
  save(): void
  /** A cached value of this process, see `cacheable`. */
  cached<Params, Value>(what: Cached<Params, Value>, params: Params): Promise<Value>
  /** Wall clock in milliseconds; constant during the turn. */
  readonly now: number
  /** 0 <= x < 1, from the host's randomness. */
  random(): number
  /** Number of members. */
  readonly size: number
  /** To every member. */
  readonly broadcast: Emit<E>
  /** To the members of a group. */
  group(name: string): Emit<E>
  /** To the member on a seat; no effect when the seat is free. */
  to(seat: number): Emit<E>
  /** A player, wherever it is connected; no effect when that uid has no session. */
  user(uid: string): User<E>
  /**
   * Another shard, or (without key) a service or a kind of shard whose contract sets its `key`.
   * A contract that is `keyed` does not compile without key. @throws InputError for any other shard without key
   */
  at<E2 extends Entries, Code2 extends string, Keyed extends boolean>(
    contract: Contract<E2, Code2, Keyed>,
    ...key: ShardKeyArgs<Keyed>
  ): ShardHandle<E2, A>
  /** Starts a durable timer: runs once after `ms`, also after a restart. The same name again moves it. */
  schedule<N extends keyof T & string>(ms: number, name: N, ...data: TimerArgs<T[N]>): void
  /** Starts a volatile timer, which ends with the activation. */
  setTimer<N extends keyof T & string>(ms: number, name: N, ...data: TimerArgs<T[N]>): void
  /** Stops the durable and the volatile timer of that name. */
  cancel(name: keyof T & string): void
  /** Creates a declared refusal: `throw c.fail('NO_ITEM')`. The turn is rolled back. */
  fail(code: Code, message?: string): Error
  /** The server's log; each line has the name of this shard. */
  readonly log: ContextLog
}
/** The session of a uid, on any connection. Takes effect when the turn has committed. */
export interface User<E extends Entries = Entries> {
  /** Events of this shard's contract; a client receives them by `game.on(Contract, event, …)`. */
  readonly push: Emit<E>
  /** Ends the session: KICKED with this reason, 1..64 of A-Z a-z 0-9 _ -; its resume tokens are revoked. */
  kick(reason?: string): void
}
/** The data of a timer; may be omitted if it has no fields. */
export type TimerArgs<Data> = Record<never, never> extends Data ? [data?: Data] : [data: Data]

/** Writes lines to the server's log. Lines and fields are bounded; nothing is thrown. */
export interface ContextLog {
  /** A line of level info. */
  info(message: string, fields?: Record<string, unknown>): void
  /** A line of level warn. */
  warn(message: string, fields?: Record<string, unknown>): void
}

/** A turn caused by a session: commands and the hooks of members. */
export interface SessionContext<
  E extends Entries = Entries,
  Code extends string = string,
  State = unknown,
  K extends Fields = Fields,
  T extends NamedTypes = NamedTypes,
  R extends Tables = Tables,
  A extends AnswerTypes = AnswerTypes,
> extends Context<E, Code, State, K, T, R, A> {
  /** The calling session, 32 hex digits; '' when another shard calls. */
  readonly session: string
  /** The uid of the session, '' = not logged in. */
  readonly uid: string
  /**
   * IP address of the session's newest connection (behind a proxy: docs/operating.md); '' when another shard calls, or
   * when the host cannot determine it. It may change with every reconnect.
   */
  readonly remote: string
  /** The calling session is a member of this shard. */
  readonly joined: boolean
  /** A small number, unique among the members. @throws Error before `join` */
  readonly seat: number
  /** Joins the shard (and the groups); repeated calls only add groups. Returns the seat. */
  join(...groups: string[]): number
  /** Leaves the groups; without groups leaves the shard. */
  leave(...groups: string[]): void
  /**
   * Binds this session to `key` for that contract: how a player accesses their own shard, and the only access to a
   * `.bound()` shard. Takes effect before the answer of this turn.
   */
  bind(contract: Contract, key: string): void
  /**
   * Logs this session in as `uid`: it may open shards for `players`, and is the only session of that uid. Waits for the
   * uid's session shard, so call it in a service. Takes effect before the answer of this turn.
   * @throws InputError for an invalid uid; CallError ALREADY_ONLINE if the game rejects a second login, UNAVAILABLE, DEADLINE
   */
  login(uid: string): Promise<void>
  /** To the calling session. */
  readonly push: Emit<E>
  /** To every member except the calling session. */
  readonly others: Emit<E>
}
