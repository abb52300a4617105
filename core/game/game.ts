// A game: its kinds of shards, put together and checked. After `firefly` returned, every command has a handler
// and no number means two things.

import type { CommandNames, Entries } from '../wire/contract.ts'
import { DefinitionError } from '../wire/errors.ts'
import type { ContextLog } from './context.ts'
import type { ShardBuilder, ShardDefinition } from './shard.ts'
import type { TableDefinition } from './table.ts'

/** What a second login of a uid does: it takes over (the older connection is closed with REPLACED), or it is refused. */
export type LoginMode = 'takeover' | 'refuse'

/** What `auth` is told of a client that shows a ticket. */
export interface AuthRequest {
  readonly ticket: Uint8Array
  /** Of a ticket that the server has checked itself (docs/tickets.md); '' = it checks none. */
  readonly uid: string
  /** 32 hex digits. */
  readonly session: string
  /** Where it comes from, for logs. */
  readonly remote: string
  /** Wall clock, milliseconds. */
  readonly now: number
  readonly log: ContextLog
}
/** The uid that the ticket stands for; null = it is refused. */
export type AuthHook = (request: AuthRequest) => string | null | Promise<string | null>

export interface GameOptions {
  /** Default 'takeover'. */
  readonly login?: LoginMode
  /** A connection that has not logged in within 30 s is closed, and `public` shards are all that it reaches before. */
  readonly requireLogin?: boolean
  /** Asked for each HELLO with a ticket. */
  readonly auth?: AuthHook
}

export interface Game {
  readonly kind: 'firefly-game'
  readonly login: LoginMode
  readonly requireLogin: boolean
  readonly auth: AuthHook | null
  /** By contract name. */
  readonly shards: ReadonlyMap<string, ShardDefinition>
  /** By name. */
  readonly tables: ReadonlyMap<string, TableDefinition>
}

/** A shard whose commands lack handlers becomes an error message that names them. */
export type Complete<S> =
  S extends ShardBuilder<
    infer E extends Entries,
    infer _Code,
    infer _State,
    infer _K,
    infer _T,
    infer _R,
    infer _A,
    infer Handled
  >
    ? [Exclude<CommandNames<E>, Handled>] extends [never]
      ? S
      : `no handler for ${Exclude<CommandNames<E>, Handled>}`
    : never

/**
 * The game of these shards and services; the default export of a game's `server.ts`.
 * @throws DefinitionError for a missing handler, a contract served twice, a number used by two contracts, two tables of one name
 */
export function firefly<S extends Record<string, { readonly definition: ShardDefinition }>>(
  shards: { [K in keyof S]: S[K] & Complete<S[K]> },
  { login = 'takeover', requireLogin = false, auth }: GameOptions = {},
): Game {
  const byName = new Map<string, ShardDefinition>()
  const numbers = new Map<number, string>()
  const tables = new Map<string, TableDefinition>()
  for (const { definition } of Object.values(shards as S)) {
    const { contract, handlers } = definition
    if (byName.has(contract.name)) throw new DefinitionError(`contract ${contract.name} is served twice`)
    byName.set(contract.name, definition)
    for (const table of definition.tables.values()) {
      if (tables.has(table.name)) throw new DefinitionError(`two tables are called ${table.name}`)
      tables.set(table.name, table)
    }
    for (const [name, entry] of Object.entries(contract.entries)) {
      const full = `${contract.name}.${name}`
      const duplicate = numbers.get(entry.number)
      if (duplicate !== undefined)
        throw new DefinitionError(`number ${entry.number} is both ${duplicate} and ${full}`)
      numbers.set(entry.number, full)
      if (entry.kind === 'command' && !handlers.has(name)) throw new DefinitionError(`no handler for ${full}`)
    }
  }
  if (byName.size === 0) throw new DefinitionError('a game needs at least one shard')
  return { kind: 'firefly-game', login, requireLogin, auth: auth ?? null, shards: byName, tables }
}

/** The same game with every table of class `critical`: what an operator chooses where losing a disk may lose nothing. */
export function critical(game: Game): Game {
  const tables = new Map(
    [...game.tables].map(([name, table]) => [name, { ...table, class: 'critical' as const }]),
  )
  const shards = new Map(
    [...game.shards].map(([name, definition]) => {
      const own = [...definition.tables].map(
        ([local, { name: table }]) => [local, tables.get(table)!] as const,
      )
      return [name, { ...definition, tables: new Map(own) }]
    }),
  )
  return { ...game, shards, tables }
}
