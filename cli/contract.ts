// `firefly contract`: the contracts of a game as data, for SDKs, code generators and tools in any language
// (docs/protocol.md, "Contracts as data").

import { Command } from 'commander'
import type { Game } from '../core/game/game.ts'
import { entryCodec, type AnyCommand, type AnyEvent, type Contract, type Offline } from '../core/wire/contract.ts'
import type { TypeSpec } from '../core/wire/schema.ts'
import { loadApp } from '../core/node/app.ts'
import { OptionError, sharedOptions } from './options.ts'

/** Rises when a reader of the previous format would misread the output. */
const FORMAT = 1

interface ContractDescription {
  readonly name: string
  readonly kind: 'shard' | 'service'
  /** The key of clients that send none. */
  readonly key: string
  readonly access: string
  readonly refuses: readonly string[]
  readonly commands: readonly {
    readonly name: string
    readonly number: number
    readonly codec: string
    readonly input: TypeSpec
    /** null = a cast, which has no reply. */
    readonly output: TypeSpec | null
    readonly durable: boolean
    readonly resend: boolean
    /** Only other shards may send it. */
    readonly internal: boolean
    readonly offline: Offline
    /** null = the server's limit alone. */
    readonly maxBytes: number | null
    readonly cost: number
  }[]
  readonly events: readonly {
    readonly name: string
    readonly number: number
    readonly codec: string
    readonly data: TypeSpec
    /** A newer event replaces an older one: false, true, or only one with the same value of this field. */
    readonly latest: string | boolean
  }[]
}

/** The `contract` command. */
export function contractCommand(): Command {
  const command = new Command('contract')
    .description('print the contracts of a game: numbers, codecs, types')
    .option('--json', 'as JSON', false)
  for (const option of sharedOptions('--app')) command.addOption(option)
  return command.action(printContracts).exitOverride()
}

/** @throws OptionError, AppError */
async function printContracts({ app, json }: { readonly app?: string; readonly json: boolean }): Promise<void> {
  if (!app) throw new OptionError('no game: give --app PATH, FIREFLY_APP, or app in firefly.json')
  const { game } = await loadApp(app)
  const contracts = [...game.shards.values()].map((definition) => describe(definition))
  if (json) console.log(JSON.stringify({ format: FORMAT, contracts }, null, 2))
  else console.log(contracts.map(textOf).join('\n\n'))
}

type Definition = Game['shards'] extends ReadonlyMap<string, infer D> ? D : never

function describe({ contract, stateless, access }: Definition): ContractDescription {
  const entries = Object.entries<AnyCommand | AnyEvent>(contract.entries)
  return {
    name: contract.name,
    kind: stateless ? 'service' : 'shard',
    key: contract.key,
    access,
    refuses: contract.refuses,
    commands: entries.flatMap(([name, entry]) => (entry.kind === 'command' ? [commandOf(contract, name, entry)] : [])),
    events: entries.flatMap(([name, entry]) => (entry.kind === 'event' ? [eventOf(contract, name, entry)] : [])),
  }
}

function commandOf(contract: Contract, name: string, entry: AnyCommand): ContractDescription['commands'][number] {
  const { durable = false, resend = false, internal = false, offline, maxBytes = null, cost = 1 } = entry.options
  return {
    name,
    number: entry.number,
    codec: entryCodec(contract, entry).name,
    input: entry.inputSpec,
    output: entry.outputSpec,
    durable,
    resend,
    internal,
    offline: offline ?? (entry.outputSpec === null && !durable ? 'drop' : 'keep'),
    maxBytes,
    cost,
  }
}

function eventOf(contract: Contract, name: string, entry: AnyEvent): ContractDescription['events'][number] {
  const codec = entryCodec(contract, entry).name
  return { name, number: entry.number, codec, data: entry.dataSpec, latest: entry.options.latest ?? false }
}

function textOf({ name, kind, key, access, refuses, commands, events }: ContractDescription): string {
  const lines = [`${kind} ${name}, for ${access}, default key ${key}`]
  for (const command of commands) {
    const { durable, resend, internal, codec, output } = command
    const flags = Object.entries({ durable, resend, internal }).flatMap(([flag, isSet]) => (isSet ? [flag] : []))
    const kindOfEntry = output === null ? 'cast' : 'call'
    lines.push(`  ${command.number} ${kindOfEntry} ${command.name} (${[codec, ...flags].join(', ')})`)
  }
  for (const { number, name: event, codec, latest } of events)
    lines.push(`  ${number} event ${event} (${latest === false ? codec : `${codec}, latest`})`)
  if (refuses.length > 0) lines.push(`  refuses ${refuses.join(', ')}`)
  return lines.join('\n')
}
