// The routing table: everything that a gateway stores about the game, as plain versioned data. The core publishes it, so a
// new command never requires a deploy of the edge.

import type { Game } from './game.ts'

const ROUTING_FORMAT = 1

export interface RoutingTableData {
  readonly format: number
  /** Changes when an entry changes; 8 hex digits. */
  readonly version: string
  readonly contracts: readonly RoutedContract[]
  /** The game has an `auth` hook, which is called for each ticket. */
  readonly auth?: boolean
  /** Sessions must log in. */
  readonly login?: boolean
}

export interface RoutedContract {
  readonly name: string
  /** Key of clients that send none. */
  readonly key: string
  readonly public: boolean
  /** Logged-in sessions may open it. */
  readonly players?: boolean
  /** Only sessions bound to a key may open it, and only that key. Absent in tables of older cores. */
  readonly bound?: boolean
  /** A service: it has no keys; keys of clients are ignored. */
  readonly stateless: boolean
  /** It ticks while it has members: the edge keeps the object active by pings. */
  readonly ticks: boolean
  readonly commands: readonly RoutedCommand[]
}

export interface RoutedCommand {
  readonly number: number
  /** Resent after a restart under the same sequence. */
  readonly durable: boolean
  /** 0 = the gateway's own limit. */
  readonly maxBytes: number
  readonly cost: number
}

export function routingTableOf(game: Game): RoutingTableData {
  const contracts: RoutedContract[] = []
  for (const { contract, access, ticker, stateless } of game.shards.values()) {
    const commands: RoutedCommand[] = []
    for (const entry of Object.values(contract.entries)) {
      if (entry.kind !== 'command' || entry.options.internal) continue
      const { durable = false, maxBytes = 0, cost = 1 } = entry.options
      commands.push({ number: entry.number, durable, maxBytes, cost })
    }
    contracts.push({
      name: contract.name,
      key: stateless ? '' : contract.key,
      public: access === 'public',
      ...(access === 'bound' ? { bound: true } : {}),
      ...(access === 'players' ? { players: true } : {}),
      stateless,
      ticks: ticker !== null,
      commands,
    })
  }
  const table = { contracts, ...(game.auth ? { auth: true } : {}), ...(game.requireLogin ? { login: true } : {}) }
  return { format: ROUTING_FORMAT, version: fingerprint(JSON.stringify(table)), ...table }
}

/** FNV-1a, 32 bits: a change detector, not a secret. */
function fingerprint(text: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}

export interface Route {
  readonly contract: RoutedContract
  readonly command: RoutedCommand
}

/** The routing table, indexed for lookup. */
export class RoutingTable {
  readonly version: string
  readonly auth: boolean
  readonly login: boolean
  readonly byNumber = new Map<number, Route>()
  readonly byName = new Map<string, RoutedContract>()

  constructor(table: RoutingTableData) {
    if (table.format !== ROUTING_FORMAT) {
      throw new Error(
        `routing table has format ${table.format}, this gateway supports ${ROUTING_FORMAT}: deploy the edge`,
      )
    }
    this.version = table.version
    this.auth = table.auth ?? false
    this.login = table.login ?? false
    for (const contract of table.contracts) {
      this.byName.set(contract.name, contract)
      for (const command of contract.commands) this.byNumber.set(command.number, { contract, command })
    }
  }
}
