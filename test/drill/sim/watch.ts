// Looks at what passes between a gateway and its shards: whatever is answered must stand where its class says in the
// very moment in which the answer is given. And at what a disk takes: no call and no cast is committed twice.

import type { ChannelIn, ChannelOut, ShardLink, OpenRequest } from '../../../core/ports/link.ts'
import type { ShardId } from '../../../core/wire/shardid.ts'
import type { WriteSet } from '../../../core/ports/store.ts'
import { shardName } from '../../../core/wire/shardid.ts'
import { Purse } from '../../../examples/market/contract.ts'
import type { Disk } from './disk.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

interface Asked {
  readonly command: number
  readonly body: string
}

const CHANGES: ReadonlySet<number> = new Set([Purse.entries.deposit.number, Purse.entries.transfer.number])
const text = new TextDecoder()

/** The engine's link, with every answer held against the truth. */
export function watched(world: World, process: Process): ShardLink {
  const { engine, life } = process
  return {
    open(request, out) {
      const asked = askedOf(world, request)
      const inner = engine.open(request, observed(world, process, request.shard, asked, out))
      const channel: ChannelIn = {
        submitCall: (sequence, command, flags, replyAck, body) => {
          if (life.over) return
          asked.set(sequence, { command, body: text.decode(body) })
          inner.submitCall(sequence, command, flags, replyAck, body)
        },
        ack: (calls, events) => {
          if (!life.over) inner.ack(calls, events)
        },
        pauseEvents: (on) => {
          if (!life.over) inner.pauseEvents(on)
        },
        identify: (uid, epoch) => {
          if (!life.over) inner.identify(uid, epoch)
        },
        closeChannel: (forget) => {
          if (!life.over) inner.closeChannel(forget)
        },
      }
      return channel
    },
  }
}

function askedOf({ asked }: World, { session, channel }: OpenRequest): Map<number, Asked> {
  const name = `${session.join('.')}:${channel}`
  const known = asked.get(name) ?? new Map<number, Asked>()
  asked.set(name, known)
  return known
}

function observed(
  world: World,
  process: Process,
  shard: ShardId,
  asked: ReadonlyMap<number, Asked>,
  out: ChannelOut,
): ChannelOut {
  const { life } = process
  const gives = (sequence: number, command: number, body: Uint8Array): void => {
    const request = asked.get(sequence)
    if (!CHANGES.has(command) || !request) return
    const { gold } = JSON.parse(text.decode(body)) as { gold?: number }
    const { id } = JSON.parse(request.body) as { id: string }
    if (gold === undefined) return
    world.reach('given', process)
    if (!life.over) check(world, process, shard.key, id, gold)
  }
  return {
    channelOpened: (activation, mark, lost) => {
      if (!life.over) out.channelOpened(activation, mark, lost)
    },
    reply: (sequence, command, body) => {
      if (!life.over) gives(sequence, command, body)
      if (!life.over) out.reply(sequence, command, body)
    },
    error: (sequence, command, kind, code, message) => {
      if (!life.over) out.error(sequence, command, kind, code, message)
    },
    event: (sequence, event, body) => {
      if (!life.over) out.event(sequence, event, body)
    },
    callsApplied: (mark) => {
      if (!life.over) out.callsApplied(mark)
    },
    membershipToken: (memo) => {
      if (!life.over) out.membershipToken(memo)
    },
    keyBound: (contract, key) => {
      if (!life.over) out.keyBound(contract, key)
    },
    loggedIn: (uid, epoch) => {
      if (!life.over) out.loggedIn(uid, epoch)
    },
    resyncRequired: (events) => {
      if (!life.over) out.resyncRequired(events)
    },
    channelClosed: (code) => {
      if (!life.over) out.channelClosed(code)
    },
  }
}

/** An answer is given: it is on the disk, synced, and in MySQL where the class says so. */
function check(world: World, { mount, life }: Process, player: string, id: string, gold: number): void {
  const { books, ledger, profile, ledgerOfMysql } = world
  const cause = `own:${id}`
  const what = `${player}: ${id}, answered ${gold} by ${life.name}`
  const deed = books.deeds.get(id)
  if (!deed) return books.break('strange', `${what}, was never asked for`)
  const query = { by: { cause }, limit: 1, descending: false }
  const [line] = mount.list({ contract: Purse.name, key: player }, ledger, query)
  const isThis = ({ shard, rows }: WriteSet): boolean =>
    shard.key === player && (rows ?? []).some(({ values }) => values['cause'] === cause)
  if (!line) books.break('early', `${what}, is not on its disk`)
  else if (!mount.isSynced(isThis)) books.break('early', `${what}, is not synced`)
  else if (line['gold'] !== gold) books.break('wrong', `${what}: its disk says ${String(line['gold'])}`)
  if (profile.critical) {
    const there = ledgerOfMysql.goldOf(player, cause)
    if (there === null) books.break('early', `${what}, is not in MySQL`)
    else if (there !== gold) books.break('wrong', `${what}: MySQL says ${there}`)
  }
  books.give(deed, gold)
}

/** The highest mark of each channel that a disk has taken. */
export class Marks {
  readonly #world: World
  readonly #byDisk = new WeakMap<Disk, Map<string, Map<string, number>>>()

  constructor(world: World) {
    this.#world = world
  }

  applied(disk: Disk, { shard, channel, activation, rows, casts }: WriteSet): void {
    const { trace, books, ledger, machines } = this.#world
    const name = shardName(shard)
    const of = channel ? ` ${channel.id.slice(0, 8)}=${channel.mark}` : ''
    const changed = (rows ?? []).map(
      ({ op, table, key, values }) => `${op} ${table.name} ${key.slice(1).join()} ${JSON.stringify(values)}`,
    )
    const sent = [...(casts ?? [])].map(([sequence, cast]) => `${cast ? 'cast' : 'end of'} ${sequence}`)
    trace.add(disk.name, `takes ${name} life ${activation}${of} ${[...changed, ...sent].join('; ')}`)
    // What a zombie takes it cannot bring to MySQL, so nobody is told of it, and its disk forgets it.
    if (!machines.some((machine) => machine.disk === disk)) return
    for (const { table, op, key, values } of rows ?? []) {
      if (table !== ledger || op !== 'insert') continue
      const found = disk.list(shard, table, { by: { cause: values['cause'] }, limit: 0, descending: false })
      if (found.length > 1)
        books.break('doubled', `${String(values['cause'])} of ${name} on ${disk.name}, line ${key.join()}`)
    }
    if (!channel) return
    const marks = this.#of(disk, name)
    const before = marks.get(channel.id) ?? 0
    if (channel.mark <= before)
      books.break('mark', `${name}, channel ${channel.id}: ${channel.mark} after ${before} on ${disk.name}`)
    marks.set(channel.id, channel.mark)
  }

  /** Turns of the shard are taken back, and their marks with them. */
  rejected(disk: Disk, shard: ShardId): void {
    this.#world.trace.add(disk.name, `takes back turns of ${shardName(shard)}`)
    this.#byDisk.get(disk)?.delete(shardName(shard))
  }

  #of(disk: Disk, shard: string): Map<string, number> {
    const shards = this.#byDisk.get(disk) ?? new Map<string, Map<string, number>>()
    this.#byDisk.set(disk, shards)
    const marks = shards.get(shard) ?? new Map<string, number>()
    shards.set(shard, marks)
    return marks
  }
}
