// How a turn ends: its write set, its commit, then its effects and its answer, in the order of the turns. A turn that
// MySQL refuses is taken back together with all behind it, of which nothing was told yet.

import { EMPTY_BYTES } from '../wire/bytes.ts'
import { TIMES } from '../wire/limits.ts'
import type { ErrorKind } from '../wire/message.ts'
import type { Activation } from '../engine/activation.ts'
import { CommitQueue } from './commitqueue.ts'
import type { Engine } from '../engine/engine.ts'
import { channelWrite, type Outcome, type Row, type RowChange, type WriteSet } from '../ports/store.ts'
import { RETAIN } from '../ports/link.ts'
import type { PeerAnswer } from '../ports/directory.ts'
import { encodeCastAnswer } from './castreceiver.ts'
import { rowChangeOf, undoChangeOf } from '../rows/tablerows.ts'
import type { Turn } from './turn.ts'

export interface TurnFailure {
  readonly kind: ErrorKind
  readonly code: string
  readonly message: string
}
type FailedOutcome = Exclude<Outcome, { kind: 'committed' }>

export class TurnCommit {
  readonly #activation: Activation
  readonly #engine: Engine
  readonly #queue: CommitQueue
  /** Turns on their way that only MySQL's answer ends. */
  #pendingCritical = 0

  constructor(activation: Activation, engine: Engine) {
    this.#activation = activation
    this.#engine = engine
    this.#queue = new CommitQueue(engine.clock, TIMES.criticalMs, (work) => activation.shard.inRun(work))
  }

  /** Nothing waits for a commit. */
  get isIdle(): boolean {
    return this.#queue.isEmpty
  }

  /** So much waits for MySQL that no further call may join it. */
  get isCongested(): boolean {
    return this.#pendingCritical > 0 && this.#queue.size >= this.#engine.limits.maxHeld
  }

  whenEmpty(): Promise<void> {
    return this.#queue.whenEmpty()
  }

  /** No turn of this activation is answered from here on; those who are owed an answer to a cast are told so. */
  stop(): void {
    this.#queue.stop()
    this.#activation.castReceiver.failWaiting()
  }

  /** Commits what is to be committed, then lets the effects and the answer go, in order. */
  commitTurn(turn: Turn, reply: Uint8Array | null, failure: TurnFailure | null): void {
    const write = this.#writeSet(turn, reply, failure)
    this.#activation.stateChanged()
    if (write === null && this.#queue.isEmpty) return this.#releaseTurn(turn, reply, failure)
    const critical = write?.critical ?? false
    if (critical) this.#pendingCritical++
    this.#queue.push(write && this.#engine.commit(write), {
      onCommitted: () => {
        if (critical) this.#pendingCritical--
        if (write) this.#activation.shard.activator.commitSucceeded()
        this.#releaseTurn(turn, reply, failure)
      },
      onFailed: (outcome) => this.#commitFailed(turn, outcome),
      onTimeout:
        this.#pendingCritical > 0 && turn.hasWaitingCaller ? () => this.#answerRetryLater(turn) : null,
    })
  }

  /** Commits what no turn waits for: a snapshot, a row read anew. */
  commitParts(parts: Partial<WriteSet>, onCommitted: () => void): void {
    this.#queue.push(this.#engine.commit(this.#newWriteSet(parts)), {
      onCommitted: onCommitted,
      onFailed: (outcome) => this.#commitFailed(null, outcome),
      onTimeout: null,
    })
  }

  #writeSet(turn: Turn, reply: Uint8Array | null, failure: TurnFailure | null): WriteSet | null {
    const {
      kvWrites,
      timerWrites,
      castWrites: casts,
      changedRows: changed,
      cause,
      requiresFlush: saved,
    } = turn
    const { receipt } = cause
    if (!kvWrites && !timerWrites && !casts && !changed && !receipt && !saved) return null
    const activation = this.#activation
    const changes: RowChange[] = []
    const before: (Row | null)[] = []
    for (const [cached, changedRow] of changed ?? []) {
      const change = rowChangeOf(changedRow.rows, cached, changedRow.before)
      if (change) changes.push(change)
      if (change) before.push(changedRow.before)
    }
    if (!kvWrites && !timerWrites && !casts && changes.length === 0 && !receipt && !saved) return null
    const critical =
      saved || (activation.plan.hasCriticalTable && (casts !== null || changes.some(isCritical)))
    const undo = critical || this.#pendingCritical > 0 ? this.#undoWriteSet(turn, changes, before) : null
    const { channel, flags } = cause
    let stored: WriteSet['channel'] = null
    if (receipt) {
      const answer = encodeCastAnswer(failure ?? { kind: 'reply', body: reply })
      receipt.storedState = { mark: receipt.sequence, replies: answer }
      stored = channelWrite(receipt.id, activation.clock.now(), receipt.storedState)
    } else if (channel && (flags & RETAIN) !== 0) {
      stored = channel.createWrite(activation.clock.now())
    }
    if (timerWrites) for (const [name, write] of timerWrites) activation.timers.setDurable(name, write)
    if (casts) activation.castSender.applyWrites(casts)
    const timers = timerWrites && activation.timers.encode(timerWrites)
    const rows = changes.length > 0 ? changes : null
    return this.#newWriteSet({
      kv: kvWrites,
      timers,
      casts,
      rows,
      channel: stored,
      critical,
      requiresFlush: saved,
      undo,
    })
  }

  /** Taken before the turn's timers and channel are put in their new state. */
  #undoWriteSet(turn: Turn, changes: readonly RowChange[], before: readonly (Row | null)[]): WriteSet {
    const { kvBefore, timerWrites, castWrites: casts, cause } = turn
    const activation = this.#activation
    const { receipt, channel, flags } = cause
    let stored: WriteSet['channel'] = null
    const nowMs = activation.clock.now()
    if (receipt) stored = channelWrite(receipt.id, nowMs, receipt.storedState)
    else if (channel && (flags & RETAIN) !== 0)
      stored = channelWrite(channel.name, nowMs, channel.storedState)
    return this.#newWriteSet({
      kv: kvBefore,
      timers: timerWrites && activation.timers.encode(activation.timers.timersForUndo(timerWrites.keys())),
      rows: changes.map((change, i) => undoChangeOf(change, before[i] ?? null)),
      casts: casts && activation.castSender.castsForUndo(casts.keys()),
      channel: stored,
    })
  }

  #releaseTurn(turn: Turn, reply: Uint8Array | null, failure: TurnFailure | null): void {
    const { effects, cause, changedRows: changed } = turn
    if (changed !== null) for (const [cached, changedRow] of changed) changedRow.rows.unpin(cached)
    if (effects !== null) for (const effect of effects) effect(this.#activation)
    const { channel, command, sequence } = cause
    if (channel !== null) {
      if (sequence === 0) return
      channel.callCommitted(sequence)
      const { out } = channel
      if (out === null) return
      if (turn.isAnsweredEarly && channel.legacy) out.callsApplied(sequence)
      else if (failure) out.error(sequence, command?.number ?? 0, failure.kind, failure.code, failure.message)
      else if (reply !== null) out.reply(sequence, command!.number, reply)
      else if (command!.output && !channel.legacy) out.reply(sequence, command!.number, EMPTY_BYTES)
      else out.callsApplied(sequence)
    } else cause.onAnswer?.(failure ?? { kind: 'reply', body: reply })
  }

  /** MySQL has not confirmed in time. The turn goes on to its end; only its caller need not wait. */
  #answerRetryLater(turn: Turn): void {
    turn.isAnsweredEarly = true
    this.#engine.meter.retryLaters++
    this.#sendSystemError(
      turn,
      'RETRY_LATER',
      'the database has not confirmed in time; it may take effect later',
    )
  }

  /** An answer of ours to a turn that is not released: a legacy client hears it in its contract's form. */
  #sendSystemError({ cause }: Turn, code: string, message: string): void {
    const { channel, command, sequence, onAnswer: answer } = cause
    if (channel === null) return answer?.({ kind: 'system', code, message })
    const body = channel.legacy && command ? this.#activation.shard.encodeLegacyRefusal(command, code) : null
    if (body) channel.out?.reply(sequence, command!.number, body)
    else channel.out?.error(sequence, command?.number ?? 0, 'system', code, message)
  }

  #commitFailed(turn: Turn | null, outcome: FailedOutcome): void {
    const activation = this.#activation
    this.#engine.meter.lostCommits++
    const cause = String(outcome.cause)
    this.#engine.log.error(`commit ${outcome.kind}, the activation ends`, { shard: activation.name, cause })
    if (outcome.kind === 'refused' && turn) this.#rejectTurn(turn, outcome)
    else activation.shard.restartAfterFailure()
  }

  /** MySQL will never take this turn: the Store takes it back, and remembers the answer for a caller that asks again. */
  #rejectTurn(turn: Turn, { cause, seq }: Extract<FailedOutcome, { kind: 'refused' }>): void {
    const { store, clock, log } = this.#engine
    const activation = this.#activation
    const { channel, sequence, flags, command, receipt } = turn.cause
    const failure: PeerAnswer & TurnFailure = {
      kind: 'system',
      code: 'REJECTED',
      message: cause.message.slice(0, 500),
    }
    let patch: WriteSet['channel'] = null
    const nowMs = clock.now()
    if (receipt)
      patch = channelWrite(receipt.id, nowMs, { mark: receipt.sequence, replies: encodeCastAnswer(failure) })
    else if (channel && (flags & RETAIN) !== 0) {
      const refused = channel.refusedState(sequence, command?.number ?? 0, failure.code, failure.message)
      patch = channelWrite(channel.name, nowMs, refused)
    }
    const rejection = Promise.resolve(store.reject?.(activation.shard.id, seq, patch) ?? null)
    activation.shard.restartAfterFailure(rejection)
    void rejection.then(
      (outcome) => {
        if (outcome?.kind === 'committed') return this.#sendSystemError(turn, failure.code, failure.message)
        log.error('a refused turn could not be taken back', {
          shard: activation.name,
          cause: String(outcome?.cause),
        })
      },
      (error: unknown) =>
        log.error('a refused turn could not be taken back', { shard: activation.name, error: String(error) }),
    )
  }

  /** A write set of this activation that changes `parts`. */
  #newWriteSet(parts: Partial<WriteSet>): WriteSet {
    const { shard, number } = this.#activation
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
      wakeMs: this.#activation.wakeMs,
      ...parts,
    }
  }
}

function isCritical({ table }: RowChange): boolean {
  return table.class === 'critical'
}
