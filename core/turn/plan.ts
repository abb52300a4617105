// A game compiled for execution: for each kind of shard its commands by number, its events and its hooks. Created once
// at start, so that a turn only looks up.

import type { Codec } from '../wire/codec.ts'
import type { Game } from '../game/game.ts'
import type { CastAnswer, SessionContext } from '../game/context.ts'
import type { ShardDefinition } from '../game/definition.ts'
import { entryCodec, type AnyCommand, type AnyEvent } from '../wire/contract.ts'
import { toParser, toRestorer } from '../wire/type.ts'
import { rowsView, type RowsView } from '../rows/tableview.ts'
import type { KvType } from './kv.ts'

/** A handler with erased types; the compiler checked them in the game. */
export type TurnHandler = (c: SessionContext, input: unknown) => unknown

export type AnswerHandler = (c: SessionContext, data: unknown, answer: CastAnswer) => unknown

export interface CommandPlan extends Pick<AnyCommand, 'number' | 'input' | 'output' | 'inputBounds' | 'outputBounds'> {
  readonly name: string
  readonly codec: Codec
  readonly run: TurnHandler
  readonly internal: boolean
}

export interface EventPlan extends Pick<AnyEvent, 'number' | 'data' | 'bounds'> {
  readonly name: string
  /** With the name of its contract. */
  readonly fullName: string
  readonly codec: Codec
  /** Events with equal text replace each other before they are sent; '' = never replaced. */
  readonly latest: (data: unknown) => string
}

export interface ShardPlan {
  readonly definition: ShardDefinition
  readonly commands: ReadonlyMap<number, CommandPlan>
  readonly events: ReadonlyMap<string, EventPlan>
  readonly kv: ReadonlyMap<string, KvType>
  readonly declaredRefusals: ReadonlySet<string>
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
    if (entry.kind === 'event') events.set(name, eventPlan(contract.name, name, entry, codec))
    else commands.set(entry.number, commandPlan(name, entry, codec, handlers.get(name) as TurnHandler))
  }
  return {
    definition,
    commands,
    events,
    kv: new Map(
      Object.entries(kv).map(([name, type]) => [
        name,
        { parse: toParser(type, `kv.${name}`), restore: toRestorer(type) },
      ]),
    ),
    declaredRefusals: new Set(contract.refuses),
    rowsView: rowsView(definition.tables),
    hasCriticalTable: [...definition.tables.values()].some((table) => table.class === 'critical'),
    ticker: definition.ticker && { ...definition.ticker, run: definition.ticker.run as TurnHandler },
  }
}

function commandPlan(name: string, command: AnyCommand, codec: Codec, run: TurnHandler): CommandPlan {
  return { ...command, name, codec, run, internal: command.options.internal ?? false }
}

function eventPlan(contract: string, name: string, event: AnyEvent, codec: Codec): EventPlan {
  const { number, options } = event
  const { latest } = options
  const latestKeyOf = (value: unknown): string => {
    if (latest === undefined) return ''
    if (latest === true) return String(number)
    return `${number}:${String((value as Record<string, unknown>)[latest])}`
  }
  return { ...event, name, fullName: `${contract}.${name}`, codec, latest: latestKeyOf }
}
