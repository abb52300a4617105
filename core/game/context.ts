// What a handler sees: `c`, the turn it runs in. Types only; core/run/turn.ts is behind them.
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

/** One method per event of the contract. The body is encoded once, however many receive it. */
export type Emit<E extends Entries> = {
  readonly [K in EventNames<E>]: (...data: Args<DataOf<E[K]>>) => void
}

/** Commands of another shard. */
export interface Remote<E extends Entries> {
  /** Waits for the answer; rejects with CallError (DEADLINE, CYCLE, …) or Refusal. Never hangs. */
  readonly call: {
    readonly [K in Exclude<CommandNames<E>, CastNames<E>>]: (
      ...input: Args<InputOf<E[K]>>
    ) => Promise<OutputOf<E[K]>>
  }
  /** Leaves when the turn has committed, in order; dropped when the turn throws. */
  readonly cast: { readonly [K in CommandNames<E>]: (...input: Args<InputOf<E[K]>>) => void }
}

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
  T extends Record<string, unknown> = Record<string, unknown>,
> {
  readonly key: string
  /** Volatile: gone with the activation, unless a snapshot brings it back. Not rolled back by a throw. */
  readonly state: State
  /** Small durable key-value state. */
  readonly kv: Kv<K>
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
  /** Another shard, or a service (without key). */
  at<E2 extends Entries, Code2 extends string>(contract: Contract<E2, Code2>, key?: string): Remote<E2>
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
  T extends Record<string, unknown> = Record<string, unknown>,
> extends Context<E, Code, State, K, T> {
  /** Who speaks, as 32 hex digits; '' when another shard calls. */
  readonly session: string
  readonly joined: boolean
  /** A small number, unique among the members. @throws Error before `join` */
  readonly seat: number
  /** Becomes a member (and of the groups); repeated calls only add groups. Returns the seat. */
  join(...groups: string[]): number
  /** Without groups: is no member any more. */
  leave(...groups: string[]): void
  /** To the session that speaks. */
  readonly push: Emit<E>
  /** To every member but the one who speaks. */
  readonly others: Emit<E>
}
