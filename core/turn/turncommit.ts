// The end of a turn: its write set, its commit, then its effects and its answer, in the order of the turns. A critical
// turn that MySQL refuses is undone together with all turns behind it, none of which has been answered.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import { TIMES } from '../wire/limits.ts'
import type { Awaitable } from '../game/definition.ts'
import { channelWrite, type Outcome, type Row, type RowChange, type Store, type WriteSet } from '../ports/store.ts'
import { RETAIN } from '../ports/link.ts'
import { systemError, type PeerFailure } from '../ports/directory.ts'
import { rowChangeOf, storeChange } from '../rows/tablerows.ts'
import type { CastSender } from './castsender.ts'
import { CommitQueue } from './commitqueue.ts'
import type { CommandPlan } from './plan.ts'
import { encodeTimers, type Timers } from './timers.ts'
import type { Turn } from './turn.ts'
import type { ActivationContext, CastReceipt, TurnShard } from './turnhost.ts'
import type { TurnWrites } from './turnwrites.ts'

type FailedOutcome = Exclude<Outcome, { kind: 'committed' }>

/** The activation, as its commits use it. */
export interface CommitHost extends ActivationContext {
  readonly store: Store
  /** When the shard must be active again; null = no durable timer or cast is pending. */
  readonly wakeMs: number | null
  readonly timers: Timers
  readonly castSender: CastSender
  /** Called for every turn that ended. */
  stateChanged(): void
}

export class TurnCommit {
  readonly #activation: CommitHost
  readonly #shard: TurnShard
  /** Turns that wait for their commits. */
  readonly queue: CommitQueue
  /** Queued turns that wait for MySQL. */
  #pendingCritical = 0

  constructor(activation: CommitHost, shard: TurnShard) {
    this.#activation = activation
    this.#shard = shard
    this.queue = new CommitQueue(activation.clock, TIMES.criticalMs, (work) => shard.inRun(work))
  }

  /** So many turns wait for MySQL that further calls are refused. */
  get isCongested(): boolean {
    return this.#pendingCritical > 0 && this.queue.size >= this.#activation.limits.maxHeld
  }

  /** Commits the writes of a turn, then runs its effects and sends its answer, after those of earlier turns. */
  commitTurn(turn: Turn, reply: Uint8Array | null = null, failure: PeerFailure | null = null): void {
    const write = this.#writeSet(turn, reply, failure)
    this.#activation.stateChanged()
    if (write === null && this.queue.isEmpty) return this.#releaseTurn(turn, reply, failure)
    const critical = write?.critical ?? false
    if (critical) this.#pendingCritical++
    let isAnsweredEarly = false
    const onTimeout = (): void => {
      isAnsweredEarly = true
      this.#answerRetryLater(turn)
    }
    this.queue.push(write && this.#commit(write), {
      onCommitted: () => {
        if (critical) this.#pendingCritical--
        if (write) this.#shard.commitSucceeded()
        this.#releaseTurn(turn, reply, failure, isAnsweredEarly)
      },
      onFailed: (outcome) => this.#commitFailed(turn, outcome),
      onTimeout: this.#pendingCritical > 0 && turn.hasWaitingCaller ? onTimeout : null,
    })
  }

  /** Commits a change that belongs to no turn: a snapshot, a refreshed row. */
  commitParts(parts: Partial<WriteSet>, onCommitted: () => void): void {
    this.queue.push(this.#commit(this.#newWriteSet(parts)), {
      onCommitted,
      onFailed: (outcome) => this.#commitFailed(null, outcome),
      onTimeout: null,
    })
  }

  #commit(write: WriteSet): Awaitable<Outcome> {
    this.#activation.meter.commits++
    return this.#activation.store.commit(write)
  }

  #writeSet(turn: Turn, reply: Uint8Array | null, failure: PeerFailure | null): WriteSet | null {
    const { writes, cause } = turn
    const { receipt, channel, flags } = cause
    if (!writes && !receipt) return null
    const { timers, castSender, plan, clock } = this.#activation
    const changes: RowChange[] = []
    const before: (Row | null)[] = []
    for (const [cached, write] of writes?.rows ?? []) {
      const change = rowChangeOf(write.rows, cached, write.before)
      if (change) changes.push(change)
      if (change) before.push(write.before)
    }
    const casts = writes?.casts ?? null
    const requiresFlush = writes?.requiresFlush ?? false
    const hasChanges = changes.length > 0
    if (!writes?.kv && !writes?.timers && !casts && !hasChanges && !receipt && !requiresFlush) return null
    const critical =
      requiresFlush ||
      (plan.hasCriticalTable && (casts !== null || changes.some(({ table }) => table.class === 'critical')))
    const caller = receipt ?? ((flags & RETAIN) !== 0 ? channel : null)
    const undo = critical || this.#pendingCritical > 0 ? this.#undoWriteSet(caller, writes, changes, before) : null
    const stored = caller?.createWrite(clock.now(), failure ?? { kind: 'reply', body: reply }) ?? null
    if (writes?.timers) for (const [name, write] of writes.timers) timers.setDurable(name, write)
    if (casts) castSender.applyWrites(casts)
    return this.#newWriteSet({
      kv: writes?.kv ?? null,
      timers: writes?.timers ? encodeTimers(writes.timers) : null,
      casts,
      rows: hasChanges ? changes : null,
      channel: stored,
      critical,
      requiresFlush,
      undo,
    })
  }

  /** Created before the turn changes the timers, the casts and the stored state of its channel. */
  #undoWriteSet(
    caller: Pick<CastReceipt, 'createUndoWrite'> | null,
    writes: TurnWrites | null,
    changes: readonly RowChange[],
    before: readonly (Row | null)[],
  ): WriteSet {
    const { timers, castSender, clock } = this.#activation
    return this.#newWriteSet({
      kv: writes?.kvBefore ?? null,
      timers: writes?.timers ? timers.encodeUndo(writes.timers.keys()) : null,
      rows: changes.map(({ table, key }, i) => storeChange(table, key, before[i] ?? null)),
      casts: writes?.casts ? castSender.castsForUndo(writes.casts.keys()) : null,
      channel: caller?.createUndoWrite(clock.now()) ?? null,
    })
  }

  /** Runs the effects of a turn and sends its answer. */
  #releaseTurn(turn: Turn, reply: Uint8Array | null, failure: PeerFailure | null, isAnsweredEarly = false): void {
    const { writes, cause, command } = turn
    if (writes?.rows) for (const [cached, write] of writes.rows) write.rows.unpin(cached)
    turn.runEffects()
    const { channel, sequence } = cause
    if (channel !== null) {
      if (sequence === 0) return
      channel.callCommitted(sequence)
      const { out } = channel
      if (out === null) return
      if (isAnsweredEarly && channel.legacy) out.callsApplied(sequence)
      else if (failure) out.error(sequence, command?.number ?? 0, failure.kind, failure.code, failure.message)
      else if (reply !== null) out.reply(sequence, command!.number, reply)
      else if (command!.output && !channel.legacy) out.reply(sequence, command!.number, EMPTY_BYTES)
      else out.callsApplied(sequence)
      channel.acknowledgeOvertaken()
    } else cause.onAnswer?.(failure ?? { kind: 'reply', body: reply })
  }

  /** MySQL has not confirmed in time: the caller is answered, and the turn still ends as usual. */
  #answerRetryLater(turn: Turn): void {
    this.#activation.meter.retryLaters++
    const message = 'the database has not confirmed in time; it may take effect later'
    this.#sendFailure(turn, systemError('RETRY_LATER', message))
  }

  /** Answers a turn that is not released. A legacy client receives the error in its contract's form. */
  #sendFailure({ cause, command }: Turn, failure: PeerFailure): void {
    const { channel, sequence, onAnswer } = cause
    if (channel === null) return onAnswer?.(failure)
    const { kind, code, message } = failure
    const body = channel.legacy && command ? encodeLegacyRefusal(this.#activation, command, code) : null
    if (body) channel.out?.reply(sequence, command!.number, body)
    else channel.out?.error(sequence, command?.number ?? 0, kind, code, message)
  }

  #commitFailed(turn: Turn | null, outcome: FailedOutcome): void {
    const { meter, log } = this.#activation
    meter.lostCommits++
    log.error(`commit ${outcome.kind}, the activation ends`, { cause: String(outcome.cause) })
    if (outcome.kind === 'refused' && turn) this.#rejectTurn(turn, outcome)
    else this.#shard.restartAfterFailure()
  }

  /** MySQL refuses this turn permanently: the Store undoes it, and stores REJECTED as the answer to a resend. */
  #rejectTurn(turn: Turn, { cause, seq }: Extract<FailedOutcome, { kind: 'refused' }>): void {
    const { shardId, clock, log, store } = this.#activation
    const { channel, sequence, flags, receipt } = turn.cause
    const failure = systemError('REJECTED', cause.message.slice(0, 500))
    let stored: WriteSet['channel'] = null
    if (receipt) stored = receipt.createWrite(clock.now(), failure)
    else if (channel && (flags & RETAIN) !== 0) {
      const number = turn.command?.number ?? 0
      const refused = channel.replies.refusedState(sequence, number, failure.code, failure.message)
      stored = channelWrite(channel.name, clock.now(), refused)
    }
    const rejection = Promise.resolve(store.reject?.(shardId, seq, stored) ?? null)
    this.#shard.restartAfterFailure(rejection)
    void rejection.then(
      (outcome) => {
        if (outcome?.kind === 'committed') return this.#sendFailure(turn, failure)
        log.error('a refused turn could not be taken back', { cause: String(outcome?.cause) })
      },
      (error: unknown) => log.error('a refused turn could not be taken back', { error }),
    )
  }

  /** A write set of this activation that changes `parts`. */
  #newWriteSet(parts: Partial<WriteSet>): WriteSet {
    const { shardId, number, wakeMs } = this.#activation
    return {
      shard: shardId,
      activation: number,
      kv: null,
      timers: null,
      channel: null,
      snapshot: null,
      rows: null,
      casts: null,
      critical: false,
      undo: null,
      wakeMs,
      ...parts,
    }
  }
}

/** The reply that refuses a legacy client's call. null = none, where the codec cannot encode it (raw and `{error}`). */
export function encodeLegacyRefusal(
  { name, plan, meter, log }: Pick<ActivationContext, 'name' | 'plan' | 'meter' | 'log'>,
  command: CommandPlan,
  code: string,
): Uint8Array | null {
  try {
    return command.codec.encode(plan.definition.contract.refuseLegacy(code))
  } catch (error) {
    meter.bugs++
    log.error('a legacy refusal could not be encoded; declare legacy.refuse for its codec', {
      shard: name,
      command: command.name,
      error,
    })
    return null
  }
}
