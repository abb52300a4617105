// How a turn ends: its write set, its commit, then its effects and its answer, in the order of the turns. A turn that
// MySQL refuses is taken back together with all behind it, of which nothing was told yet.

import { TIMES } from '../wire/limits.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { Activation } from './activation.ts'
import { Egress } from './egress.ts'
import type { Engine } from './engine.ts'
import {
  channelWrite,
  RETAIN,
  type Outcome,
  type PeerAnswer,
  type Row,
  type RowChange,
  type WriteSet,
} from './ports.ts'
import { encodeAnswer } from './receipts.ts'
import { changeOf, undoOf } from './rows.ts'
import type { Turn } from './turn.ts'

export interface Failure {
  readonly kind: ErrorKind
  readonly code: string
  readonly message: string
}
type Broken = Exclude<Outcome, { kind: 'committed' }>

export class Settlement {
  readonly #life: Activation
  readonly #engine: Engine
  readonly #egress: Egress
  /** Turns on their way that only MySQL's answer ends. */
  #critical = 0

  constructor(life: Activation, engine: Engine) {
    this.#life = life
    this.#engine = engine
    this.#egress = new Egress(engine.clock, TIMES.criticalMs, (work) => life.shard.inRun(work))
  }

  /** Nothing waits for a commit. */
  get idle(): boolean {
    return this.#egress.idle
  }

  /** So much waits for MySQL that no further call may join it. */
  get congested(): boolean {
    return this.#critical > 0 && this.#egress.size >= this.#engine.limits.maxHeld
  }

  emptied(): Promise<void> {
    return this.#egress.emptied()
  }

  /** No turn of this activation is answered from here on; those who are owed an answer to a cast are told so. */
  stop(): void {
    this.#egress.stop()
    this.#life.receipts.end()
  }

  /** Commits what is to be committed, then lets the effects and the answer go, in order. */
  settle(turn: Turn, reply: Uint8Array | null, failure: Failure | null): void {
    const write = this.#writeSet(turn, reply, failure)
    this.#life.touched()
    if (write === null && this.#egress.idle) return this.#release(turn, reply, failure)
    const critical = write?.critical ?? false
    if (critical) this.#critical++
    this.#egress.push(write && this.#engine.commit(write), {
      release: () => {
        if (critical) this.#critical--
        if (write) this.#life.shard.waking.succeeded()
        this.#release(turn, reply, failure)
      },
      broken: (outcome) => this.#broken(turn, outcome),
      tell: this.#critical > 0 && turn.isAwaited ? () => this.#tell(turn) : null,
    })
  }

  /** Commits what no turn waits for: a snapshot, a row read anew. */
  commit(parts: Partial<WriteSet>, done: () => void): void {
    this.#egress.push(this.#engine.commit(this.#writes(parts)), {
      release: done,
      broken: (outcome) => this.#broken(null, outcome),
      tell: null,
    })
  }

  #writeSet(turn: Turn, reply: Uint8Array | null, failure: Failure | null): WriteSet | null {
    const { kvWrites, timerWrites, casts, changed, cause, saved } = turn
    const { receipt } = cause
    if (!kvWrites && !timerWrites && !casts && !changed && !receipt && !saved) return null
    const life = this.#life
    const changes: RowChange[] = []
    const before: (Row | null)[] = []
    for (const [cached, touched] of changed ?? []) {
      const change = changeOf(touched.rows, cached, touched.before)
      if (change) changes.push(change)
      if (change) before.push(touched.before)
    }
    if (!kvWrites && !timerWrites && !casts && changes.length === 0 && !receipt && !saved) return null
    const critical = saved || (life.plan.critical && (casts !== null || changes.some(isCritical)))
    const undo = critical || this.#critical > 0 ? this.#undo(turn, changes, before) : null
    const { channel, flags } = cause
    let stored: WriteSet['channel'] = null
    if (receipt) {
      const answer = encodeAnswer(failure ?? { kind: 'reply', body: reply })
      receipt.before = { mark: receipt.sequence, replies: answer }
      stored = channelWrite(receipt.id, life.clock.now(), receipt.before)
    } else if (channel && (flags & RETAIN) !== 0) {
      stored = channel.store(life.clock.now())
    }
    if (timerWrites) for (const [name, write] of timerWrites) life.timers.set(name, write)
    if (casts) life.casts.wrote(casts)
    const timers = timerWrites && life.timers.encode(timerWrites)
    const rows = changes.length > 0 ? changes : null
    return this.#writes({ kv: kvWrites, timers, casts, rows, channel: stored, critical, saves: saved, undo })
  }

  /** Taken before the turn's timers and channel are put in their new state. */
  #undo(turn: Turn, changes: readonly RowChange[], before: readonly (Row | null)[]): WriteSet {
    const { kvBefore, timerWrites, casts, cause } = turn
    const life = this.#life
    const { receipt, channel, flags } = cause
    let stored: WriteSet['channel'] = null
    const nowMs = life.clock.now()
    if (receipt) stored = channelWrite(receipt.id, nowMs, receipt.before)
    else if (channel && (flags & RETAIN) !== 0) stored = channelWrite(channel.name, nowMs, channel.stored)
    return this.#writes({
      kv: kvBefore,
      timers: timerWrites && life.timers.encode(life.timers.before(timerWrites.keys())),
      rows: changes.map((change, i) => undoOf(change, before[i] ?? null)),
      casts: casts && life.casts.before(casts.keys()),
      channel: stored,
    })
  }

  #release(turn: Turn, reply: Uint8Array | null, failure: Failure | null): void {
    const { effects, cause, changed } = turn
    if (changed !== null) for (const [cached, touched] of changed) touched.rows.unpin(cached)
    if (effects !== null) for (const effect of effects) effect(this.#life)
    const { channel, command, sequence } = cause
    if (channel !== null) {
      if (sequence === 0) return
      if (sequence > channel.settled) channel.settled = sequence
      const { out } = channel
      if (out === null) return
      if (turn.told && channel.legacy) out.applied(sequence)
      else if (failure) out.error(sequence, command?.number ?? 0, failure.kind, failure.code, failure.message)
      else if (reply !== null) out.reply(sequence, command!.number, reply)
      else if (command!.output && !channel.legacy) out.reply(sequence, command!.number, NO_BYTES)
      else out.applied(sequence)
    } else cause.answer?.(failure ?? { kind: 'reply', body: reply })
  }

  /** MySQL has not confirmed in time. The turn goes on to its end; only its caller need not wait. */
  #tell(turn: Turn): void {
    turn.told = true
    this.#engine.meter.retryLaters++
    this.#answer(turn, 'RETRY_LATER', 'the database has not confirmed in time; it may take effect later')
  }

  /** An answer of ours to a turn that is not released: a legacy client hears it in its contract's form. */
  #answer({ cause }: Turn, code: string, message: string): void {
    const { channel, command, sequence, answer } = cause
    if (channel === null) return answer?.({ kind: 'system', code, message })
    const body = channel.legacy && command ? this.#life.shard.legacyRefusal(command, code) : null
    if (body) channel.out?.reply(sequence, command!.number, body)
    else channel.out?.error(sequence, command?.number ?? 0, 'system', code, message)
  }

  #broken(turn: Turn | null, outcome: Broken): void {
    const life = this.#life
    this.#engine.meter.lostCommits++
    const cause = String(outcome.cause)
    this.#engine.log.error(`commit ${outcome.kind}, the activation ends`, { shard: life.name, cause })
    if (outcome.kind === 'refused' && turn) this.#rejected(turn, outcome)
    else life.shard.setBack()
  }

  /** MySQL will never take this turn: the Store takes it back, and remembers the answer for a caller that asks again. */
  #rejected(turn: Turn, { cause, seq }: Extract<Broken, { kind: 'refused' }>): void {
    const { store, clock, log } = this.#engine
    const life = this.#life
    const { channel, sequence, flags, command, receipt } = turn.cause
    const failure: PeerAnswer & Failure = {
      kind: 'system',
      code: 'REJECTED',
      message: cause.message.slice(0, 500),
    }
    let patch: WriteSet['channel'] = null
    const nowMs = clock.now()
    if (receipt)
      patch = channelWrite(receipt.id, nowMs, { mark: receipt.sequence, replies: encodeAnswer(failure) })
    else if (channel && (flags & RETAIN) !== 0) {
      const refused = channel.storeRefused(sequence, command?.number ?? 0, failure.code, failure.message)
      patch = channelWrite(channel.name, nowMs, refused)
    }
    const taken = Promise.resolve(store.reject?.(life.shard.id, seq, patch) ?? null)
    life.shard.setBack(taken)
    void taken.then(
      (done) => {
        if (done?.kind === 'committed') return this.#answer(turn, failure.code, failure.message)
        log.error('a refused turn could not be taken back', { shard: life.name, cause: String(done?.cause) })
      },
      (error: unknown) =>
        log.error('a refused turn could not be taken back', { shard: life.name, error: String(error) }),
    )
  }

  /** A write set of this activation that changes `parts`. */
  #writes(parts: Partial<WriteSet>): WriteSet {
    const { shard, number } = this.#life
    return {
      shard: shard.id,
      activation: number,
      kv: null,
      timers: null,
      channel: null,
      snapshot: null,
      rows: null,
      casts: null,
      critical: false,
      undo: null,
      wakeMs: this.#life.wakeMs,
      ...parts,
    }
  }
}

function isCritical({ table }: RowChange): boolean {
  return table.class === 'critical'
}

const NO_BYTES = new Uint8Array(0)
