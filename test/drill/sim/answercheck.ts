// Checks what passes between a gateway and its shards: at the moment an answer is sent, its change is stored where its class
// requires. And what a disk stores: no call and no cast is committed twice.

import type { Engine } from '../../../core/engine/engine.ts'
import type { ChannelOut, OpenRequest, ShardLink } from '../../../core/ports/link.ts'
import type { WriteSet } from '../../../core/ports/store.ts'
import { utf8Decoder } from '../../../core/wire/bytes.ts'
import { shardName, type ShardId } from '../../../core/wire/shardid.ts'
import { Purse } from '../../../examples/market/contract.ts'
import { whileOpen } from '../../support/override.ts'
import type { Disk } from './disk.ts'
import type { DiskMount } from './diskmount.ts'
import type { SimEnvironment } from './environment.ts'
import type { ProcessLifetime } from './lifetime.ts'

/** A process whose answers are checked. */
interface CheckedProcess {
  readonly lifetime: ProcessLifetime
  readonly engine: Engine
  readonly mount: DiskMount
}

interface SubmittedCall {
  readonly command: number
  readonly body: string
}

const CHANGES: ReadonlySet<number> = new Set([Purse.entries.deposit.number, Purse.entries.transfer.number])

export class AnswerCheck {
  readonly #environment: SimEnvironment
  /** By session and channel, then by sequence. */
  readonly #calls = new Map<string, Map<number, SubmittedCall>>()

  constructor(environment: SimEnvironment) {
    this.#environment = environment
  }

  /** The link of an engine, with every answer checked. */
  checkedLink(process: CheckedProcess): ShardLink {
    const isOpen = (): boolean => !process.lifetime.isOver
    return {
      open: (request, out) => {
        const calls = this.#callsOf(request)
        const inner = process.engine.open(request, this.#checkedOut(process, request.shard, calls, out))
        return whileOpen(inner, isOpen, {
          submitCall: (sequence, command, flags, replyAck, body) => {
            calls.set(sequence, { command, body: utf8Decoder.decode(body) })
            inner.submitCall(sequence, command, flags, replyAck, body)
          },
        })
      },
    }
  }

  #callsOf({ session, channel }: OpenRequest): Map<number, SubmittedCall> {
    const name = `${session.join('.')}:${channel}`
    const calls = this.#calls.get(name) ?? new Map<number, SubmittedCall>()
    this.#calls.set(name, calls)
    return calls
  }

  #checkedOut(
    process: CheckedProcess,
    shard: ShardId,
    calls: ReadonlyMap<number, SubmittedCall>,
    out: ChannelOut,
  ): ChannelOut {
    const isOpen = (): boolean => !process.lifetime.isOver
    return whileOpen(out, isOpen, {
      reply: (sequence, command, body) => {
        const call = calls.get(sequence)
        if (call && CHANGES.has(command)) this.#check(process, shard.key, call, body)
        if (isOpen()) out.reply(sequence, command, body)
      },
    })
  }

  /** The change is on the disk and synced, and in MySQL where the class requires it. */
  #check({ mount, lifetime }: CheckedProcess, player: string, call: SubmittedCall, body: Uint8Array): void {
    const { log, ledger, profile, mysqlCheck } = this.#environment
    const { gold } = JSON.parse(utf8Decoder.decode(body)) as { gold?: number }
    const { id } = JSON.parse(call.body) as { id: string }
    if (gold === undefined) return
    this.#environment.reachPoint('reply', lifetime)
    if (lifetime.isOver) return
    const cause = `own:${id}`
    const what = `${player}: ${id}, answered ${gold} by ${lifetime.name}`
    const transaction = log.transactions.get(id)
    if (!transaction) return log.violations.add('strange', `${what}, was never requested`)
    const query = { by: { cause }, limit: 1, descending: false }
    const [entry] = mount.store.list({ contract: Purse.name, key: player }, ledger, query)
    const isThis = ({ shard, rows }: WriteSet): boolean =>
      shard.key === player && (rows ?? []).some(({ values }) => values['cause'] === cause)
    if (!entry) log.violations.add('early', `${what}, is not on its disk`)
    else if (!mount.isSynced(isThis)) log.violations.add('early', `${what}, is not synced`)
    else if (entry['gold'] !== gold) log.violations.add('wrong', `${what}: its disk has ${String(entry['gold'])}`)
    if (profile.critical) {
      const stored = mysqlCheck.goldOf(player, cause)
      if (stored === null) log.violations.add('early', `${what}, is not in MySQL`)
      else if (stored !== gold) log.violations.add('wrong', `${what}: MySQL has ${stored}`)
    }
    log.answerSent(transaction, gold)
  }
}

/** The highest mark of each channel that a disk has stored. */
export class MarkCheck {
  readonly #environment: Pick<SimEnvironment, 'trace' | 'log' | 'ledger'>
  readonly #isInUse: (disk: Disk) => boolean
  /** By disk, shard and channel. */
  readonly #marks = new WeakMap<Disk, Map<string, Map<string, number>>>()

  /** @param isInUse false: only a zombie writes to the disk */
  constructor(environment: Pick<SimEnvironment, 'trace' | 'log' | 'ledger'>, isInUse: (disk: Disk) => boolean) {
    this.#environment = environment
    this.#isInUse = isInUse
  }

  writeApplied(disk: Disk, write: WriteSet): void {
    const { trace, log } = this.#environment
    const { shard, channel } = write
    trace.add(disk.name, `stores ${describe(write)}`)
    // A zombie cannot flush to MySQL, so no answer depends on what it writes, and its disk discards it.
    if (!this.#isInUse(disk)) return
    this.#checkCauses(disk, write)
    if (!channel) return
    const marks = this.#marksOf(disk, shardName(shard))
    const before = marks.get(channel.id) ?? 0
    if (channel.mark <= before)
      log.violations.add(
        'mark',
        `${shardName(shard)}, channel ${channel.id}: ${channel.mark} after ${before} on ${disk.name}`,
      )
    marks.set(channel.id, channel.mark)
  }

  /** Turns of the shard are undone, and their marks with them. */
  turnsRejected(disk: Disk, shard: ShardId): void {
    this.#environment.trace.add(disk.name, `undoes turns of ${shardName(shard)}`)
    this.#marks.get(disk)?.delete(shardName(shard))
  }

  #checkCauses(disk: Disk, { shard, rows }: WriteSet): void {
    const { log, ledger } = this.#environment
    for (const { table, op, key, values } of rows ?? []) {
      if (table !== ledger || op !== 'insert') continue
      const { cause } = values
      const entries = disk.list(shard, table, { by: { cause }, limit: 0, descending: false })
      if (entries.length > 1)
        log.violations.add('doubled', `${String(cause)} of ${shardName(shard)} on ${disk.name}, entry ${key.join()}`)
    }
  }

  #marksOf(disk: Disk, shard: string): Map<string, number> {
    const shards = this.#marks.get(disk) ?? new Map<string, Map<string, number>>()
    this.#marks.set(disk, shards)
    const marks = shards.get(shard) ?? new Map<string, number>()
    shards.set(shard, marks)
    return marks
  }
}

function describe({ shard, channel, activation, rows, casts }: WriteSet): string {
  const mark = channel ? ` ${channel.id.slice(0, 8)}=${channel.mark}` : ''
  const changes = (rows ?? []).map(
    ({ op, table, key, values }) => `${op} ${table.name} ${key.slice(1).join()} ${JSON.stringify(values)}`,
  )
  const sent = [...(casts ?? [])].map(([sequence, cast]) => `${cast ? 'cast' : 'end of cast'} ${sequence}`)
  return `${shardName(shard)} activation ${activation}${mark} ${[...changes, ...sent].join('; ')}`
}
