// A game compiled for execution: for each kind of shard its commands by number, its events and its hooks. Created once
// at start, so that a turn only looks up.

import type { Codec } from '../wire/codec.ts'
import type { Game } from '../game/game.ts'
import type { CastAnswer, SessionContext } from '../game/context.ts'
import type { Admit, ShardDefinition } from '../game/shard.ts'
import { entryCodec, type AnyCommand, type AnyEvent, type Contract, type Parser } from '../wire/contract.ts'
import { toParser } from '../wire/type.ts'
import { rowsView, type RowsView } from '../rows/tableview.ts'

/** A handler with erased types; the compiler checked them in the game. */
export type TurnHandler = (c: SessionContext, input: unknown) => unknown

export type AnswerHandler = (c: SessionContext, data: unknown, answer: CastAnswer) => unknown

export interface CommandPlan {
  readonly name: string
  readonly number: number
  readonly codec: Codec
  readonly input: Parser<unknown>
  /** null for a cast. */
  readonly output: Parser<unknown> | null
  readonly run: TurnHandler
  readonly durable: boolean
  readonly internal: boolean
}

export interface EventPlan {
  readonly name: string
  readonly number: number
  readonly codec: Codec
  readonly data: Parser<unknown>
  /** Events with equal text replace each other before they are sent; '' = never replaced. */
  readonly latest: (data: unknown) => string
}

export interface ShardPlan {
  readonly definition: ShardDefinition
  readonly contract: Contract
  readonly commands: ReadonlyMap<number, CommandPlan>
  readonly events: ReadonlyMap<string, EventPlan>
  readonly kv: ReadonlyMap<string, Parser<unknown>>
  readonly declaredRefusals: ReadonlySet<string>
  readonly leave: TurnHandler | null
  readonly rejoin: TurnHandler | null
  readonly away: TurnHandler | null
  readonly back: TurnHandler | null
  readonly resync: TurnHandler | null
  readonly admit: Admit | null
  readonly timers: ReadonlyMap<string, TurnHandler>
  readonly answers: ReadonlyMap<string, AnswerHandler>
  /** The class of `c.rows`. */
  readonly rowsView: RowsView
  readonly hasCriticalTable: boolean
  readonly ticker: { readonly hz: number; readonly fixed: boolean; readonly run: TurnHandler } | null
}

/** `builtIns`: the definitions of the framework's own shards, by contract name. */
export function compileGame(
  game: Game,
  builtIns: ReadonlyMap<string, ShardDefinition>,
): ReadonlyMap<string, ShardPlan> {
  const shards = [...game.shards, ...builtIns]
  return new Map(shards.map(([name, definition]) => [name, compileShard(definition)]))
}

function compileShard(definition: ShardDefinition): ShardPlan {
  const { contract, handlers, kv } = definition
  const commands = new Map<number, CommandPlan>()
  const events = new Map<string, EventPlan>()
  for (const [name, entry] of Object.entries(contract.entries)) {
    const codec = entryCodec(contract, entry)
    if (entry.kind === 'event') events.set(name, eventPlan(name, entry, codec))
    else commands.set(entry.number, commandPlan(name, entry, codec, handlers.get(name) as TurnHandler))
  }
  return {
    definition,
    contract,
    commands,
    events,
    kv: new Map(Object.entries(kv).map(([name, type]) => [name, toParser(type)])),
    declaredRefusals: new Set(contract.refuses),
    leave: definition.leave as TurnHandler | null,
    rejoin: definition.rejoin as TurnHandler | null,
    away: definition.away as TurnHandler | null,
    back: definition.back as TurnHandler | null,
    resync: definition.resync as TurnHandler | null,
    admit: definition.admit,
    timers: new Map([...definition.timers].map(([name, timer]) => [name, timer.run as TurnHandler])),
    answers: new Map([...definition.answers].map(([name, answer]) => [name, answer.run as AnswerHandler])),
    rowsView: rowsView(definition.tables),
    hasCriticalTable: [...definition.tables.values()].some((table) => table.class === 'critical'),
    ticker: definition.ticker && { ...definition.ticker, run: definition.ticker.run as TurnHandler },
  }
}

function commandPlan(name: string, entry: AnyCommand, codec: Codec, run: TurnHandler): CommandPlan {
  return {
    name,
    number: entry.number,
    codec,
    input: entry.input,
    output: entry.output,
    run,
    durable: entry.options.durable ?? false,
    internal: entry.options.internal ?? false,
  }
}

function eventPlan(name: string, { number, data, options }: AnyEvent, codec: Codec): EventPlan {
  const { latest } = options
  const latestKeyOf = (value: unknown): string => {
    if (latest === undefined) return ''
    if (latest === true) return String(number)
    return `${number}:${String((value as Record<string, unknown>)[latest])}`
  }
  return { name, number, codec, data, latest: latestKeyOf }
}
