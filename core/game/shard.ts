// The builder of a kind of shard: a contract, its state and its handlers. Types follow from the contract, so authors write no
// type arguments, and a command without a handler does not compile (see game.ts).

import type { CommandNames, Contract, Entries, InputOf, OutputOf } from '../wire/contract.ts'
import { DefinitionError } from '../wire/errors.ts'
import { schemaOf, toParser, type Fields, type InferFields } from '../wire/type.ts'
import type { CastAnswer, Context, ContextLog, NamedTypes, SessionContext, Tables } from './context.ts'
import type { TableDefinition } from './table.ts'

type EmptyRecord = Record<never, never>
export type Awaitable<T> = T | Promise<T>

const MAX_LINGER_MS = 600_000

export interface SnapshotOptions<State, Saved> {
  /** At most this often, while turns run; also when the shard is drained or evicted. */
  readonly everyMs: number
  /** Returns a plain value (MessagePack) from which `load` restores the state. */
  readonly save: (state: State) => Saved
  readonly load: (saved: Saved, key: string) => State
}

export interface ShardOptions {
  /** What a bug does beyond rolling the turn back: 'reset' also ends the activation. Default 'keep'. */
  readonly onBug?: 'keep' | 'reset'
}

/** What the engine runs; built by {@link ShardBuilder}, compiled by core/turn/plan.ts. */
export interface ShardDefinition {
  readonly contract: Contract
  access: Access
  /** Turns at a time: 1 for a shard, more for a service. */
  readonly concurrency: number
  readonly stateless: boolean
  readonly onBug: 'keep' | 'reset'
  init: (key: string) => unknown
  snapshot: SnapshotOptions<unknown, unknown> | null
  kv: Fields
  readonly handlers: Map<string, Handler>
  ticker: { readonly hz: number; readonly fixed: boolean; readonly run: Hook<number> } | null
  readonly timers: Map<string, { readonly parse: (data: unknown) => unknown; readonly run: Hook<unknown> }>
  /** By the name in this shard. */
  readonly tables: Map<string, TableDefinition>
  readonly answers: Map<string, { readonly parse: (data: unknown) => unknown; readonly run: AnswerHook }>
  readonly memberHooks: Map<MemberHook, Hook<void>>
  admit: Admit | null
  /** How long a member without connection retains its seat; null = TIMES.lingerMs. */
  lingerMs: number | null
}
/** Erased handler: `c` is the runtime's Turn. */
export type Handler = (c: never, input: never) => unknown
export type Hook<Arg> = (c: never, arg: Arg) => unknown
/** Hooks that run when the connection or the seat of a member changes. */
export type MemberHook = 'onDisconnect' | 'onReconnect' | 'onResync' | 'onLeave' | 'onRejoin'
export type AnswerHook = (c: never, data: never, answer: CastAnswer) => unknown
/** Permitted callers: other shards only, sessions bound to it, logged-in sessions, or all sessions. */
export type Access = 'shards' | 'bound' | 'players' | 'public'

/** The session that opens a shard, before the shard is activated. */
export interface Admittance {
  /** '' = not logged in. */
  readonly uid: string
  /** 32 hex digits. */
  readonly session: string
  /** Wall clock, milliseconds. */
  readonly now: number
  readonly log: ContextLog
}
export type Admit = (who: Admittance, key: string) => Awaitable<boolean>

export class ShardBuilder<
  E extends Entries,
  Code extends string,
  State = EmptyRecord,
  K extends Fields = EmptyRecord,
  T extends NamedTypes = EmptyRecord,
  R extends Tables = EmptyRecord,
  A extends NamedTypes = EmptyRecord,
  Handled extends string = never,
> {
  /** Carries the type parameters; never present. */
  declare readonly types: { entries: E; code: Code; handled: Handled }
  readonly definition: ShardDefinition

  constructor(definition: ShardDefinition) {
    this.definition = definition
  }

  /** All sessions may open it; without this (or `players`, `bound`) only other shards may call it. */
  public(): this {
    this.definition.access = 'public'
    return this
  }

  /** Logged-in sessions may open it. */
  players(): this {
    this.definition.access = 'players'
    return this
  }

  /**
   * Decides per key, in addition to `public`, `players` or `bound`, before the shard is activated: false = FORBIDDEN, a throw
   * or no answer within 5 s = UNAVAILABLE. Called again whenever a session reconnects.
   */
  admit(admit: Admit): this {
    this.definition.admit = admit
    return this
  }

  /** Only sessions bound by `c.bind(Contract, key)` may open it: a player's own shard. */
  bound(): this {
    this.#requireStateful('bound sessions')
    this.definition.access = 'bound'
    return this
  }

  /** The tables whose rows this kind of shard owns: `c.rows.NAME`. */
  tables<const Own extends Tables>(tables: Own): ShardBuilder<E, Code, State, K, T, Own, A, Handled> {
    this.#requireStateful('tables')
    const { contract } = this.definition
    for (const [name, { definition }] of Object.entries(tables)) {
      if (definition.owner !== contract.name)
        throw new DefinitionError(`table ${definition.name} belongs to ${definition.owner}, not to ${contract.name}`)
      this.definition.tables.set(name, definition)
    }
    return this as never
  }

  /** Volatile state, created for each activation. */
  state<S, Saved = unknown>(
    init: (key: string) => S,
    options: { snapshot?: SnapshotOptions<S, Saved> } = {},
  ): ShardBuilder<E, Code, S, K, T, R, A, Handled> {
    this.#requireStateful('state')
    this.definition.init = init
    this.definition.snapshot = (options.snapshot ?? null) as SnapshotOptions<unknown, unknown> | null
    return this as never
  }

  /** Small durable state: committed before the reply of the turn that set it. */
  kv<const F extends Fields>(fields: F): ShardBuilder<E, Code, State, F, T, R, A, Handled> {
    this.#requireStateful('kv')
    this.definition.kv = fields
    return this as never
  }

  /** The handler of one command. Returning undefined sends no reply to a legacy client. */
  on<N extends CommandNames<E>>(
    name: N,
    handler: (c: SessionContext<E, Code, State, K, T, R, A>, input: InputOf<E[N]>) => Awaitable<OutputOf<E[N]>>,
  ): ShardBuilder<E, Code, State, K, T, R, A, Handled | N> {
    const { contract, handlers } = this.definition
    if (contract.entries[name]?.kind !== 'command')
      throw new DefinitionError(`${contract.name} has no command ${JSON.stringify(name)}`)
    if (handlers.has(name)) throw new DefinitionError(`${contract.name}.${name} has two handlers`)
    handlers.set(name, handler)
    return this
  }

  /** Several handlers, for example from several files. */
  handlers<
    H extends {
      [N in CommandNames<E>]?: (
        c: SessionContext<E, Code, State, K, T, R, A>,
        input: InputOf<E[N]>,
      ) => Awaitable<OutputOf<E[N]>>
    },
  >(handlers: H): ShardBuilder<E, Code, State, K, T, R, A, Handled | (keyof H & string)> {
    for (const [name, handler] of Object.entries(handlers)) this.on(name as CommandNames<E>, handler as never)
    return this
  }

  /** A turn `hz` times per second while the shard has members; `dt` is the time since the last, in seconds. */
  tick(hz: number, run: (c: Context<E, Code, State, K, T, R, A>, dt: number) => unknown): this {
    return this.#ticker(hz, false, run)
  }

  /** A tick with a consecutive step number, for deterministic games. Late steps are caught up. */
  step(hz: number, run: (c: Context<E, Code, State, K, T, R, A>, step: number) => unknown): this {
    return this.#ticker(hz, true, run)
  }

  /** Declares a named timer, started by `c.schedule` (durable) or `c.setTimer` (volatile). Declare it before its use. */
  timer<const N extends string, const F extends Fields>(
    name: N,
    fields: F,
    run: (c: Context<E, Code, State, K, T & Record<N, InferFields<F>>, R, A>, data: InferFields<F>) => unknown,
  ): ShardBuilder<E, Code, State, K, T & Record<N, InferFields<F>>, R, A, Handled> {
    this.#requireStateful('timer')
    const { contract, timers } = this.definition
    if (timers.has(name)) throw new DefinitionError(`${contract.name} has two timers ${JSON.stringify(name)}`)
    timers.set(name, { parse: toParser(schemaOf(fields)), run: run as Hook<unknown> })
    return this as never
  }

  /**
   * Receives the result of a durable cast: `c.at(Purse, to).cast.receive({ … }, { answer: NAME, data })`. Runs once; its
   * writes are committed together with the completion of the cast. Declare it before its use.
   */
  answer<const N extends string, const F extends Fields>(
    name: N,
    fields: F,
    run: (
      c: Context<E, Code, State, K, T, R, A & Record<N, InferFields<F>>>,
      data: InferFields<F>,
      answer: CastAnswer,
    ) => unknown,
  ): ShardBuilder<E, Code, State, K, T, R, A & Record<N, InferFields<F>>, Handled> {
    this.#requireStateful('answers')
    const { contract, answers } = this.definition
    if (name === '') throw new DefinitionError(`${contract.name}: an answer needs a name`)
    if (answers.has(name)) throw new DefinitionError(`${contract.name} has two answers ${JSON.stringify(name)}`)
    answers.set(name, { parse: toParser(schemaOf(fields)), run })
    return this as never
  }

  /** How long a member without connection retains its seat, milliseconds. Default 30,000; 0 = none. */
  linger(ms: number): this {
    this.#requireStateful('linger')
    if (!(ms >= 0 && ms <= MAX_LINGER_MS))
      throw new DefinitionError(`${this.definition.contract.name}: linger ${ms} ms is not in 0..${MAX_LINGER_MS}`)
    this.definition.lingerMs = ms
    return this
  }

  /** Runs when a member's connection is lost and its seat is retained. Its events are queued. Legacy clients leave instead. */
  onDisconnect(run: (c: SessionContext<E, Code, State, K, T, R, A>) => unknown): this {
    return this.#memberHook('onDisconnect', run)
  }

  /** Runs when a member has reconnected; the queued events have been sent. */
  onReconnect(run: (c: SessionContext<E, Code, State, K, T, R, A>) => unknown): this {
    return this.#memberHook('onReconnect', run)
  }

  /** Runs when a member has missed discarded events: `c.push` fresh state here. */
  onResync(run: (c: SessionContext<E, Code, State, K, T, R, A>) => unknown): this {
    return this.#memberHook('onResync', run)
  }

  /** Runs when a member has left permanently; `c.seat` is still its seat. */
  onLeave(run: (c: SessionContext<E, Code, State, K, T, R, A>) => unknown): this {
    return this.#memberHook('onLeave', run)
  }

  /** Runs for every member whose connection outlived the previous activation; volatile state is new. */
  onRejoin(run: (c: SessionContext<E, Code, State, K, T, R, A>) => unknown): this {
    return this.#memberHook('onRejoin', run)
  }

  #memberHook(name: MemberHook, run: Hook<void>): this {
    this.#requireStateful(name)
    this.definition.memberHooks.set(name, run)
    return this
  }

  #ticker(hz: number, fixed: boolean, run: (c: never, arg: number) => unknown): this {
    this.#requireStateful(fixed ? 'step' : 'tick')
    if (!(hz > 0 && hz <= 120)) throw new DefinitionError(`${this.definition.contract.name}: ${hz} Hz is not in 0..120`)
    if (this.definition.ticker) throw new DefinitionError(`${this.definition.contract.name} already has a tick`)
    this.definition.ticker = { hz, fixed, run }
    return this
  }

  #requireStateful(what: string): void {
    if (this.definition.stateless)
      throw new DefinitionError(`${this.definition.contract.name}: a service has no state, so it has no ${what}`)
  }
}

/** A kind of shard: one turn at a time per key. */
export function shard<E extends Entries, Code extends string>(
  contract: Contract<E, Code>,
  options: ShardOptions = {},
): ShardBuilder<E, Code> {
  return new ShardBuilder(createDefinition(contract, 1, false, options))
}

/** A stateless service (logins, purchases): up to `concurrency` turns at a time, without key. */
export function service<E extends Entries, Code extends string>(
  contract: Contract<E, Code>,
  { concurrency = 64 }: { readonly concurrency?: number } = {},
): ShardBuilder<E, Code> {
  if (!Number.isInteger(concurrency) || concurrency < 1)
    throw new DefinitionError(`${contract.name}: concurrency ${concurrency} is not a positive integer`)
  return new ShardBuilder(createDefinition(contract, concurrency, true))
}

function createDefinition(
  contract: Contract,
  concurrency: number,
  stateless: boolean,
  { onBug = 'keep' }: ShardOptions = {},
): ShardDefinition {
  return {
    contract,
    access: 'shards',
    concurrency,
    stateless,
    onBug,
    init: () => ({}),
    snapshot: null,
    kv: {},
    handlers: new Map(),
    ticker: null,
    timers: new Map(),
    tables: new Map(),
    answers: new Map(),
    memberHooks: new Map(),
    admit: null,
    lingerMs: null,
  }
}
