// A game: its kinds of shards, combined and checked. Invariant: when `firefly` returns, every command has a handler and every
// number is unique.

import type { CommandNames, Contract, Entries, NumberOf } from '../wire/contract.ts'
import { CONTRACT } from '../wire/contractoptions.ts'
import { DefinitionError, shorten } from '../wire/errors.ts'
import { checkOption, checkOptions, FLAG, FUNCTION, OBJECT, oneOf } from '../wire/options.ts'
import type { OptionKind, OptionKinds } from '../wire/options.ts'
import type { ContextLog } from './context.ts'
import type { ShardDefinition } from './definition.ts'
import type { TableDefinition } from './table.ts'

/** Effect of a second login of a uid: it takes over (the older connection is closed with REPLACED), or it is rejected. */
export type LoginMode = 'takeover' | 'refuse'

/** Argument of `auth` for a client that presents a ticket. */
export interface AuthRequest {
  /** The ticket, as the client sent it. */
  readonly ticket: Uint8Array
  /** From a ticket that the server has verified (docs/tickets.md); '' = it verifies none. */
  readonly uid: string
  /** 32 hex digits. */
  readonly session: string
  /** IP address of the client; '' = the host cannot determine it. */
  readonly remote: string
  /** Wall clock, milliseconds. */
  readonly now: number
  /** The server's log. */
  readonly log: ContextLog
}
/** Returns the uid of the ticket; null = rejected. */
export type AuthHook = (request: AuthRequest) => string | null | Promise<string | null>

/** Options of `firefly`. */
export interface GameOptions {
  /** Default 'takeover'. */
  readonly login?: LoginMode
  /** Closes connections without login after 30 s; before the login they can open only `public` shards. */
  readonly requireLogin?: boolean
  /** Called for each HELLO with a ticket. */
  readonly auth?: AuthHook
}

const GAME_OPTIONS: OptionKinds<GameOptions> = {
  login: /* @__PURE__ */ oneOf('takeover', 'refuse'),
  requireLogin: FLAG,
  auth: FUNCTION,
}
const BUILDER: OptionKind = {
  what: 'what shard() or service() returns',
  accepts: (value) => OBJECT.accepts(value) && OBJECT.accepts((value as { definition?: unknown }).definition),
}

/** A game: what `firefly` returns, and a server runs. */
export interface Game {
  /** Marks a game among the exports of a module. */
  readonly kind: 'firefly-game'
  /** Effect of a second login of a uid. */
  readonly login: LoginMode
  /** Connections without login are closed after 30 s. */
  readonly requireLogin: boolean
  /** Decides on tickets; null = none. */
  readonly auth: AuthHook | null
  /** By contract name. */
  readonly shards: ReadonlyMap<string, ShardDefinition>
  /** By name. */
  readonly tables: ReadonlyMap<string, TableDefinition>
}

/** A shard with commands without handlers becomes an error message that names them. */
export type Complete<S> = S extends { readonly types: { entries: infer E extends Entries; handled: infer Handled } }
  ? [Exclude<CommandNames<E>, Handled>] extends [never]
    ? S
    : `no handler for ${Exclude<CommandNames<E>, Handled>}`
  : never

/** A number that another contract of the game has too becomes an error message that names it. */
export type Distinct<S, K extends keyof S> = {
  [J in keyof S]: J extends K ? never : SharedNumber<NumbersOf<S[J]>, NumbersOf<S[K]>, J & string>
}[keyof S] extends infer Shared
  ? [Shared] extends [never]
    ? unknown
    : Shared
  : never
type SharedNumber<A, B, Name extends string> = [A & B] extends [never]
  ? never
  : number extends A | B
    ? never
    : `number ${A & B & number} is also a number of ${Name}`
type NumbersOf<S> = S extends { readonly types: { entries: infer E extends Entries } } ? NumberOf<E[keyof E]> : never

/**
 * Creates the game of these shards and services; the default export of a game's `server.ts`.
 * @throws DefinitionError for a missing handler, a contract served twice, a number used by two contracts, two tables of one name,
 * an unknown option, an option of another type
 */
export function firefly<S extends Record<string, { readonly definition: ShardDefinition }>>(
  shards: { [K in keyof S]: S[K] & Complete<S[K]> & Distinct<S, K> },
  options: GameOptions = {},
): Game {
  checkOption('firefly', 'the argument shards', shards, OBJECT)
  checkOptions('firefly', options, GAME_OPTIONS)
  const { login = 'takeover', requireLogin = false, auth } = options
  const byName = new Map<string, ShardDefinition>()
  const numbers = new Map<number, string>()
  const tables = new Map<string, TableDefinition>()
  for (const [key, builder] of Object.entries(shards as S)) {
    const shown = CONTRACT.accepts(builder) ? `the contract ${(builder as Partial<Contract>).name}` : shorten(builder)
    checkOption('firefly', key, builder, BUILDER, shown)
    const { definition } = builder
    const { contract, handlers } = definition
    if (byName.has(contract.name)) throw new DefinitionError(`contract ${contract.name} is served twice`)
    byName.set(contract.name, definition)
    for (const table of definition.tables.values()) {
      if (tables.has(table.name)) throw new DefinitionError(`two tables have the name ${table.name}`)
      tables.set(table.name, table)
    }
    for (const [name, entry] of Object.entries(contract.entries)) {
      const full = `${contract.name}.${name}`
      const duplicate = numbers.get(entry.number)
      if (duplicate !== undefined) throw new DefinitionError(`number ${entry.number} is both ${duplicate} and ${full}`)
      numbers.set(entry.number, full)
      if (entry.kind === 'command' && !handlers.has(name)) throw new DefinitionError(`no handler for ${full}`)
    }
  }
  if (byName.size === 0) throw new DefinitionError('a game needs at least one shard')
  return { kind: 'firefly-game', login, requireLogin, auth: auth ?? null, shards: byName, tables }
}

/** Returns the game with every table of class `critical`, for operators who must not lose data with a disk. */
export function critical(game: Game): Game {
  const tables = new Map([...game.tables].map(([name, table]) => [name, { ...table, class: 'critical' as const }]))
  const shards = new Map(
    [...game.shards].map(([name, definition]) => {
      const own = [...definition.tables].map(([local, { name: table }]) => [local, tables.get(table)!] as const)
      return [name, { ...definition, tables: new Map(own) }]
    }),
  )
  return { ...game, shards, tables }
}
