// A game: its kinds of shards, put together and checked. After `firefly` returned, every command has a handler
// and no number means two things.

import type { CommandNames, Entries } from '../wire/contract.ts'
import { DefinitionError } from '../wire/errors.ts'
import type { ShardBuilder, ShardDefinition } from './shard.ts'

export interface Game {
  readonly kind: 'firefly-game'
  /** By contract name. */
  readonly shards: ReadonlyMap<string, ShardDefinition>
}

/** A shard whose commands lack handlers becomes an error message that names them. */
export type Complete<S> =
  S extends ShardBuilder<
    infer E extends Entries,
    infer _Code,
    infer _State,
    infer _K,
    infer _T,
    infer Handled
  >
    ? [Exclude<CommandNames<E>, Handled>] extends [never]
      ? S
      : `no handler for ${Exclude<CommandNames<E>, Handled>}`
    : never

/**
 * The game of these shards and services; the default export of a game's `server.ts`.
 * @throws DefinitionError for a missing handler, a contract served twice, a number used by two contracts
 */
export function firefly<S extends Record<string, { readonly definition: ShardDefinition }>>(shards: {
  [K in keyof S]: S[K] & Complete<S[K]>
}): Game {
  const byName = new Map<string, ShardDefinition>()
  const numbers = new Map<number, string>()
  for (const { definition } of Object.values(shards as S)) {
    const { contract, handlers } = definition
    if (byName.has(contract.name)) throw new DefinitionError(`contract ${contract.name} is served twice`)
    byName.set(contract.name, definition)
    for (const [name, entry] of Object.entries(contract.entries)) {
      const full = `${contract.name}.${name}`
      const twin = numbers.get(entry.number)
      if (twin !== undefined) throw new DefinitionError(`number ${entry.number} is both ${twin} and ${full}`)
      numbers.set(entry.number, full)
      if (entry.kind === 'command' && !handlers.has(name)) throw new DefinitionError(`no handler for ${full}`)
    }
  }
  if (byName.size === 0) throw new DefinitionError('a game needs at least one shard')
  return { kind: 'firefly-game', shards: byName }
}
