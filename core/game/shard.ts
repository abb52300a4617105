// The builder of a kind of shard: a contract, its state and its handlers. Types follow from the contract, so authors write no
// type arguments, and a command without a handler does not compile (see game.ts). Invariant: nothing is set twice, so no
// definition silently replaces another.

import type { Command, CommandNames, Contract, Entries, InputOf, OutputOf } from '../wire/contract.ts'
import { CONTRACT } from '../wire/contractoptions.ts'
import { DefinitionError, shorten } from '../wire/errors.ts'
import {
  checkName,
  checkOption,
  checkOptions,
  FUNCTION,
  numberIn,
  OBJECT,
  oneOf,
  POSITIVE_INTEGER,
  type OptionKind,
  type OptionKinds,
} from '../wire/options.ts'
import { schemaOf, toParser, toRestorer, type Fields, type InferFields } from '../wire/type.ts'
import type { BuilderTypes, Handlers, PresentKeys, TurnHook } from './buildertypes.ts'
import type { AnswerTypes, CastAnswer, Context, NamedTypes, SessionContext, Tables } from './context.ts'
import {
  createDefinition,
  type Access,
  type ActivationHook,
  type Admit,
  type Awaitable,
  type Hook,
  type MemberHook,
  type ShardDefinition,
  type ShardOptions,
  type SnapshotOptions,
} from './definition.ts'

type EmptyRecord = Record<never, never>

const LINGER_MS = /* @__PURE__ */ numberIn(0, 600_000)
const HZ: OptionKind = {
  what: 'in 0..120',
  accepts: (value) => typeof value === 'number' && value > 0 && value <= 120,
}
const SHARD_OPTIONS: OptionKinds<ShardOptions> = { onBug: /* @__PURE__ */ oneOf('keep', 'reset') }
const SNAPSHOT_OPTIONS: OptionKinds<SnapshotOptions<unknown, unknown>> = {
  everyMs: /* @__PURE__ */ numberIn(0, 2 ** 31 - 1),
  save: FUNCTION,
  load: FUNCTION,
}
const TABLE: OptionKind = {
  what: 'what table() returns',
  accepts: (value) => OBJECT.accepts(value) && (value as { kind?: unknown }).kind === 'table',
}
const COMMAND: OptionKind = {
  what: 'a command of a contract',
  accepts: (value) => OBJECT.accepts(value) && (value as { kind?: unknown }).kind === 'command',
}

/** The builder of a kind of shard: what `shard` and `service` return. Each method may be called once. */
export class ShardBuilder<
  E extends Entries,
  Code extends string,
  State = EmptyRecord,
  K extends Fields = EmptyRecord,
  T extends NamedTypes = EmptyRecord,
  R extends Tables = EmptyRecord,
  A extends AnswerTypes = EmptyRecord,
  Handled extends string = never,
> {
  /** Carries the type parameters; never present. */
  declare readonly types: BuilderTypes<E, Code, State, K, T, R, A, Handled>
  /** @internal What the engine runs. */
  readonly definition: ShardDefinition
  readonly #set = new Set<string>()

  constructor(definition: ShardDefinition) {
    this.definition = definition
  }

  /** All sessions may open it; without this (or `players`, `bound`) only other shards may call it. */
  public(): this {
    return this.#setAccess('public')
  }

  /** Logged-in sessions may open it. */
  players(): this {
    return this.#setAccess('players')
  }

  /**
   * Decides per key, in addition to `public`, `players` or `bound`, before the shard is activated: false = FORBIDDEN, a throw
   * or no answer within 5 s = UNAVAILABLE. Called again whenever a session reconnects.
   */
  admit(admit: Admit): this {
    this.#setOnce('admit', { run: admit })
    this.definition.admit = admit
    return this
  }

  /** Only sessions bound by `c.bind(Contract, key)` may open it: a player's own shard. */
  bound(): this {
    this.#requireStateful('bound sessions')
    return this.#setAccess('bound')
  }

  /** The tables whose rows this kind of shard owns: `c.rows.NAME`. */
  tables<const Own extends Tables>(tables: Own): ShardBuilder<E, Code, State, K, T, Own, A, Handled> {
    this.#requireStateful('tables')
    this.#setOnce('tables')
    const { contract } = this.definition
    checkOption(contract.name, 'the argument tables', tables, OBJECT)
    for (const [name, table] of Object.entries(tables)) {
      checkOption(contract.name, `table ${shorten(name)}`, table, TABLE)
      const { definition } = table
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
    this.#setOnce('state', { run: init })
    const { name } = this.definition.contract
    checkOptions(`${name}: state`, options, { snapshot: OBJECT })
    if (options.snapshot)
      checkOptions(`${name}: snapshot`, options.snapshot, SNAPSHOT_OPTIONS, Object.keys(SNAPSHOT_OPTIONS))
    this.definition.init = init
    this.definition.snapshot = (options.snapshot ?? null) as SnapshotOptions<unknown, unknown> | null
    return this as never
  }

  /** Small durable state: committed before the reply of the turn that set it. */
  kv<const F extends Fields>(fields: F): ShardBuilder<E, Code, State, F, T, R, A, Handled> {
    this.#requireStateful('kv')
    this.#setOnce('kv')
    schemaOf(fields, `${this.definition.contract.name}: kv`) // refuses a wrong field at this line
    this.definition.kv = fields
    return this as never
  }

  /** The handler of one command. Returning undefined sends no reply to a legacy client. */
  on<N extends CommandNames<E>>(
    name: N,
    handler: (c: SessionContext<E, Code, State, K, T, R, A>, input: InputOf<E[N]>) => Awaitable<OutputOf<E[N]>>,
  ): ShardBuilder<E, Code, State, K, T, R, A, Handled | N> {
    const { contract, handlers } = this.definition
    const commands = Object.entries(contract.entries).flatMap(([key, { kind }]) => (kind === 'command' ? key : []))
    checkName(contract.name, 'command', name, commands)
    this.#setOnce(`the handler of ${name}`, { run: handler })
    handlers.set(name, handler)
    return this
  }

  /** Several handlers, for example those of another file, typed by {@link HandlersOf}. */
  handlers<H extends Handlers<E, SessionContext<E, Code, State, K, T, R, A>>>(
    handlers: H,
  ): ShardBuilder<E, Code, State, K, T, R, A, Handled | PresentKeys<H>> {
    checkOption(this.definition.contract.name, 'the argument handlers', handlers, OBJECT)
    for (const [name, handler] of Object.entries(handlers)) this.on(name as CommandNames<E>, handler as never)
    return this
  }

  /** A turn `hz` times per second while the shard has members; `dt` is the time since the last, in seconds. */
  tick(hz: number, run: TurnHook<Context<E, Code, State, K, T, R, A>, [dt: number]>): this {
    return this.#ticker(hz, false, run)
  }

  /** A tick with a consecutive step number, for deterministic games. Late steps are caught up. */
  step(hz: number, run: TurnHook<Context<E, Code, State, K, T, R, A>, [step: number]>): this {
    return this.#ticker(hz, true, run)
  }

  /** Declares a named timer, started by `c.schedule` (durable) or `c.setTimer` (volatile). Declare it before its use. */
  timer<const N extends string, const F extends Fields>(
    name: N,
    fields: F,
    run: TurnHook<Context<E, Code, State, K, T & Record<N, InferFields<F>>, R, A>, [data: InferFields<F>]>,
  ): ShardBuilder<E, Code, State, K, T & Record<N, InferFields<F>>, R, A, Handled> {
    this.#requireStateful('timer')
    this.#setOnce(`timer ${JSON.stringify(name)}`, { run })
    this.definition.timers.set(name, {
      parse: toParser(schemaOf(fields), `timer ${name}: data`),
      run: run as Hook<unknown>,
    })
    return this as never
  }

  /**
   * Receives the result of a durable cast of `command`: after `.answer('paid', Purse.entries.receive, { id }, run)`, the cast
   * `c.at(Purse, to).cast.receive({ … }, { answer: 'paid', data: { id } })`. No other command may name it. Runs once; its
   * writes are committed together with the completion of the cast. Declare it before its use.
   * @throws DefinitionError when the command is not durable: only a durable cast is answered
   */
  answer<const N extends string, const M extends number, Out, const F extends Fields>(
    name: N,
    command: Command<M, unknown, Out>,
    fields: F,
    run: TurnHook<
      Context<E, Code, State, K, T, R, A & Record<N, { data: InferFields<F>; number: M }>>,
      [data: InferFields<F>, answer: CastAnswer<Out>]
    >,
  ): ShardBuilder<E, Code, State, K, T, R, A & Record<N, { data: InferFields<F>; number: M }>, Handled> {
    this.#requireStateful('answers')
    const { contract, answers } = this.definition
    if (name === '') throw new DefinitionError(`${contract.name}: an answer needs a name`)
    this.#setOnce(`answer ${JSON.stringify(name)}`, { run })
    checkOption(contract.name, `the command of answer ${shorten(name)}`, command, COMMAND)
    const { number, options } = command
    if (!options.durable)
      throw new DefinitionError(
        `${contract.name}: answer ${JSON.stringify(name)} is for command ${number}, which is not durable`,
      )
    answers.set(name, {
      command: number,
      parse: toParser(schemaOf(fields), `answer ${name}: data`),
      restore: toRestorer(schemaOf(fields)),
      run,
    })
    return this as never
  }

  /** How long a member without connection retains its seat, milliseconds. Default 30,000; 0 = none. */
  linger(ms: number): this {
    this.#requireStateful('linger')
    this.#setOnce('linger')
    checkOption(this.definition.contract.name, 'linger in ms', ms, LINGER_MS)
    this.definition.lingerMs = ms
    return this
  }

  /** Runs when a member's connection is lost and its seat is retained. Its events are queued. Legacy clients leave instead. */
  onDisconnect(run: TurnHook<SessionContext<E, Code, State, K, T, R, A>>): this {
    return this.#hook('onDisconnect', run)
  }

  /** Runs when a member has reconnected; the queued events have been sent. */
  onReconnect(run: TurnHook<SessionContext<E, Code, State, K, T, R, A>>): this {
    return this.#hook('onReconnect', run)
  }

  /** Runs when a member has missed discarded events: `c.push` fresh state here. */
  onResync(run: TurnHook<SessionContext<E, Code, State, K, T, R, A>>): this {
    return this.#hook('onResync', run)
  }

  /** Runs when a member has left permanently; `c.seat` is still its seat. */
  onLeave(run: TurnHook<SessionContext<E, Code, State, K, T, R, A>>): this {
    return this.#hook('onLeave', run)
  }

  /** Runs for every member whose connection outlived the previous activation; volatile state is new. */
  onRejoin(run: TurnHook<SessionContext<E, Code, State, K, T, R, A>>): this {
    return this.#hook('onRejoin', run)
  }

  /**
   * Runs first in each activation: after `init` or the snapshot and with all rows, before members, calls and timers; `c.size` is
   * 0. The first call waits for its commit. A throw refuses the activation: waiting calls fail with UNAVAILABLE, the next one
   * tries again.
   */
  onActivate(run: TurnHook<Context<E, Code, State, K, T, R, A>>): this {
    return this.#hook('onActivate', run)
  }

  /**
   * Runs when the server is about to end the activation: in a drain (SIGTERM), and when the shard was idle. Within 5 s, then it
   * is rolled back. Its writes and durable casts are committed, then the snapshot is saved; ticks and timers run no more. It does
   * not run at a crash, a kill, an error that ends the activation, or when Cloudflare removes or hibernates an object.
   */
  onDeactivate(run: TurnHook<Context<E, Code, State, K, T, R, A>>): this {
    return this.#hook('onDeactivate', run)
  }

  #hook(name: MemberHook | ActivationHook, run: Hook<void>): this {
    this.#requireStateful(name)
    this.#setOnce(name, { run })
    this.definition.hooks.set(name, run)
    return this
  }

  #ticker(hz: number, fixed: boolean, run: (c: never, arg: number) => unknown): this {
    this.#requireStateful(fixed ? 'step' : 'tick')
    checkOption(this.definition.contract.name, 'the frequency in Hz', hz, HZ)
    this.#setOnce('tick or step', { run })
    this.definition.ticker = { hz, fixed, run }
    return this
  }

  #setAccess(access: Access): this {
    this.#setOnce('access (public, players or bound)')
    this.definition.access = access
    return this
  }

  /** @throws DefinitionError when it was set before, or when `run` is given and no function */
  #setOnce(what: string, run?: { readonly run: unknown }): void {
    const { name } = this.definition.contract
    if (this.#set.has(what)) throw new DefinitionError(`${name}: ${what} is set twice`)
    if (run) checkOption(name, what, run.run, FUNCTION)
    this.#set.add(what)
  }

  #requireStateful(what: string): void {
    if (this.definition.stateless)
      throw new DefinitionError(`${this.definition.contract.name}: a service cannot have ${what}, only a shard can`)
  }
}

/** A kind of shard: one turn at a time per key. */
export function shard<E extends Entries, Code extends string>(
  contract: Contract<E, Code>,
  options: ShardOptions = {},
): ShardBuilder<E, Code> {
  checkOption('shard', 'its contract', contract, CONTRACT)
  checkOptions(contract.name, options, SHARD_OPTIONS)
  return new ShardBuilder(createDefinition(contract, 1, false, options))
}

/** A stateless service (logins, purchases): up to `concurrency` turns at a time, without key. */
export function service<E extends Entries, Code extends string>(
  contract: Contract<E, Code>,
  options: { readonly concurrency?: number } = {},
): ShardBuilder<E, Code> {
  checkOption('service', 'its contract', contract, CONTRACT)
  checkOptions(contract.name, options, { concurrency: POSITIVE_INTEGER })
  if (contract.keyed) throw new DefinitionError(`${contract.name}: a service has no key, and its contract is keyed`)
  return new ShardBuilder(createDefinition(contract, options.concurrency ?? 64, true))
}
