// One shard as its engine knows it: who is attached, its mailbox and its current activation, if any. One turn at a
// time (a service: `concurrency`), in arrival order; channels outlive activations.

import { CallError, TRANSIENT_CODES, type SystemCode } from '../wire/errors.ts'
import { Activation } from './activation.ts'
import { ChannelRegistry } from '../channel/channelregistry.ts'
import type { Channel } from '../channel/channel.ts'
import type { Engine } from './engine.ts'
import { Mailbox } from './mailbox.ts'
import type { CommandPlan, ShardPlan } from '../turn/plan.ts'
import { RETAIN } from '../ports/link.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import type { Awaitable } from '../game/shard.ts'
import type { PeerAnswer, PeerCall } from '../ports/directory.ts'
import type { StoredShard, StoredCast, StoredChannel } from '../ports/store.ts'
import { NO_CALLER } from '../turn/turn.ts'
import { Activator, type ActivationTarget } from './activator.ts'

/** Work that waits for its turn. */
interface MailboxItem {
  run(activation: Activation): void
  /** The shard cannot be activated, or the life it was meant for is gone. */
  drop(code: 'UNAVAILABLE' | 'SHARD_RESTARTED' | 'RETRY_LATER'): void
  /** Whether it still makes sense in the next activation. */
  readonly survivesRestart: boolean
}

export class Shard implements ActivationTarget {
  readonly id: ShardId
  readonly name: string
  readonly plan: ShardPlan
  readonly channels: ChannelRegistry
  readonly #engine: Engine
  readonly #mailbox: Mailbox<MailboxItem>
  #activation: Activation | null = null
  readonly activator: Activator
  /** Asynchronous turns that run now. */
  #asyncTurns = 0
  /** How often in a row the engine's sweep found nothing to do here. */
  idleSweeps = 0
  /** In the engine's queue of shards with work. */
  isQueued = false

  constructor(engine: Engine, id: ShardId, plan: ShardPlan) {
    this.#engine = engine
    this.id = id
    this.name = shardName(id)
    this.plan = plan
    this.#mailbox = new Mailbox(engine.limits.maxMailbox, engine.mailboxQuota)
    this.channels = new ChannelRegistry(engine, this)
    this.activator = new Activator(engine, this)
  }

  get activation(): Activation | null {
    return this.#activation
  }
  get isBusy(): boolean {
    return this.#asyncTurns >= this.plan.definition.concurrency
  }
  get backlog(): number {
    return this.#mailbox.size
  }
  /** The mailbox may be drained now. */
  get isReady(): boolean {
    return this.#activation !== null && this.#mailbox.size > 0 && !this.isBusy
  }

  /** The hot path: an idle shard runs the call at once, inside the event that brought it. */
  handleCall(channel: Channel, sequence: number, command: number, flags: number, body: Uint8Array): void {
    const { limits, mailboxQuota } = this.#engine
    // The client does not know yet that its shard was lost: it sends again, behind what is older.
    if (channel.callsLost && !channel.legacy) return
    if (
      (flags & RETAIN) !== 0 &&
      sequence > channel.mark &&
      !channel.canRetainReply(limits.maxUnackedReplies, limits.maxUnackedBytes)
    ) {
      return this.#refuseOverloaded(
        channel,
        sequence,
        command,
        flags,
        'unacknowledged replies fill the channel',
      )
    }
    const activation = this.#activation
    if (activation?.turnCommit.isCongested) {
      this.#engine.meter.retryLaters++
      return this.#refuseCall(
        channel,
        sequence,
        command,
        flags,
        'RETRY_LATER',
        'too many turns wait for the database',
      )
    }
    if (activation !== null && this.#mailbox.size === 0 && !this.isBusy && this.#engine.tryBeginRun()) {
      try {
        activation.runCall(channel, sequence, command, flags, body)
      } finally {
        this.#engine.endRun(this)
      }
      return
    }
    if (channel.queuedCalls >= limits.maxWaiting) {
      return this.#refuseOverloaded(
        channel,
        sequence,
        command,
        flags,
        `${channel.queuedCalls} calls wait already`,
      )
    }
    const item: MailboxItem = {
      // A client of version 2 sends it again itself, behind what is older; nobody does that for a legacy one.
      survivesRestart: channel.legacy,
      run: (next) => {
        channel.addQueuedCalls(-1)
        mailboxQuota.bytes -= body.length
        next.runCall(channel, sequence, command, flags, body)
      },
      drop: (code) => {
        channel.addQueuedCalls(-1)
        mailboxQuota.bytes -= body.length
        if (code === 'SHARD_RESTARTED') return
        this.#refuseCall(channel, sequence, command, flags, code, `${this.name} could not be activated`)
      },
    }
    if (!this.#mailbox.push(item))
      return this.#refuseOverloaded(channel, sequence, command, flags, 'the mailbox is full')
    channel.addQueuedCalls(1)
    mailboxQuota.bytes += body.length
    this.#schedule()
  }

  #refuseOverloaded(
    channel: Channel,
    sequence: number,
    command: number,
    flags: number,
    message: string,
  ): void {
    this.#engine.meter.overloads++
    this.#refuseCall(channel, sequence, command, flags, 'OVERLOADED', message)
  }

  /** Answers a call that is not run. Kept like any answer: later calls will raise the mark above it. */
  #refuseCall(
    channel: Channel,
    sequence: number,
    command: number,
    flags: number,
    code: SystemCode,
    message: string,
  ): void {
    if ((flags & RETAIN) !== 0) channel.retainError(sequence, command, 'system', code, message)
    const plan = channel.legacy && TRANSIENT_CODES.has(code) ? this.plan.commands.get(command) : null
    const body = plan ? this.encodeLegacyRefusal(plan, code) : null
    if (body) return channel.out?.reply(sequence, command, body)
    channel.out?.error(sequence, command, 'system', code, message)
  }

  /** null where the codec has no form for it, as raw has none for the default `{error}`: then it is silence. */
  encodeLegacyRefusal(command: CommandPlan, code: string): Uint8Array | null {
    try {
      return command.codec.encode(this.plan.contract.refuseLegacy(code))
    } catch (error) {
      this.#engine.meter.bugs++
      this.#engine.log.error('a legacy refusal could not be encoded; declare legacy.refuse for its codec', {
        shard: this.name,
        command: command.name,
        error: String(error),
      })
      return null
    }
  }

  /** A call (`answer`) or a cast (null) of another shard. */
  receivePeerCall(call: PeerCall, answer: ((answer: PeerAnswer) => void) | null): void {
    const refuse = (code: string, message: string): void => answer?.({ kind: 'system', code, message })
    const item: MailboxItem = {
      survivesRestart: true,
      run: (activation) => {
        if (call.deadlineMs !== 0 && activation.clock.now() >= call.deadlineMs) return
        const { chain, deadlineMs } = call
        activation.runCommand({ ...NO_CALLER, chain, deadlineMs, onAnswer: answer }, call.command, call.body)
      },
      drop: () => refuse('UNAVAILABLE', `${this.name} could not be activated`),
    }
    if (this.#mailbox.push(item)) return this.#schedule()
    this.#engine.meter.overloads++
    if (!answer) this.#engine.log.warn('a cast is dropped: the mailbox is full', { shard: this.name })
    refuse('OVERLOADED', `the mailbox of ${this.name} is full`)
  }

  /** A durable cast of another shard: refused only when it was not begun. */
  receiveDurableCast(sender: string, cast: StoredCast, answer: (answer: PeerAnswer) => void): void {
    const refuse = (code: SystemCode, message: string): void => answer({ kind: 'system', code, message })
    if (this.plan.definition.stateless)
      return refuse('FORBIDDEN', `${this.plan.contract.name} is a service: it remembers no durable cast`)
    const item: MailboxItem = {
      survivesRestart: true,
      run: (activation) => this.#runDurableCast(activation, sender, cast, answer),
      drop: (code) => refuse(code, `${this.name} could not be activated`),
    }
    if (this.#mailbox.push(item)) return this.#schedule()
    this.#engine.meter.overloads++
    refuse('OVERLOADED', `the mailbox of ${this.name} is full`)
  }

  #runDurableCast(
    activation: Activation,
    sender: string,
    cast: StoredCast,
    answer: (answer: PeerAnswer) => void,
  ): void {
    const { castReceiver: receipts } = activation
    if (receipts.hasSender(sender)) return receipts.applyCast(sender, cast, answer)
    const onLoaded = (stored: StoredChannel | null): void => {
      receipts.loadSender(sender, stored)
      receipts.applyCast(sender, cast, answer)
    }
    const stored = this.readChannel(`@${sender}`)
    if (!(stored instanceof Promise)) return onLoaded(stored)
    const resume = this.beginAsyncTurn()
    stored.then(
      (found) => resume(() => onLoaded(found)),
      (cause: unknown) =>
        resume(() => answer({ kind: 'system', code: 'UNAVAILABLE', message: String(cause) })),
    )
  }

  /** What the Store has of a channel. A disk that cannot be read says so by the promise. */
  readChannel(channel: string): Awaitable<StoredChannel | null> {
    try {
      return this.#engine.store.channel(this.id, channel)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Runs in this activation behind what waits already, or not at all. Never refused, so only for what is bounded by
   * itself: one tick, the end and the introduction of each channel, the answers of casts, timers.
   */
  enqueueWork(run: (life: Activation) => void): void {
    this.enqueueWithoutSchedule(run)
    this.#schedule()
  }

  /** The same, but that nothing is run at once. */
  enqueueWithoutSchedule(run: (life: Activation) => void): void {
    this.#mailbox.pushAlways({ survivesRestart: false, run, drop: () => {} })
  }

  /** An asynchronous turn begins; the returned function ends it, inside the engine's run. */
  beginAsyncTurn(): (end: () => void) => void {
    const activation = this.#activation
    this.#asyncTurns++
    return (end) => {
      if (this.#activation !== activation) return
      this.#asyncTurns--
      this.inRun(end)
    }
  }

  /** Does work inside the engine's run: turns that it causes wait until it is done. */
  inRun(work: () => void): void {
    const outermost = this.#engine.tryBeginRun()
    try {
      work()
    } finally {
      if (outermost) this.#engine.endRun(this)
      else this.#schedule()
    }
  }

  /** Runs one item. */
  runNext(): void {
    const activation = this.#activation
    if (activation !== null) this.#mailbox.shift()?.run(activation)
  }

  /** Wakes the shard though nobody spoke: a durable timer is near. */
  wake(): void {
    if (!this.#activation) this.activator.activate()
  }

  /** A commit failed. What made it fail may last: each further activation in a row waits longer for its turn. */
  restartAfterFailure(until: Promise<unknown> | null = null): void {
    this.activator.commitFailed()
    this.restart(until)
  }

  /** Ends the activation and, because channels, mail or casts wait for it, begins the next; not before `until` has ended. */
  restart(until: Promise<unknown> | null = null): void {
    const hasCasts = this.#activation !== null && this.#activation.castSender.size > 0
    this.#endActivation()
    for (const item of this.#mailbox.removeUnless((item) => item.survivesRestart))
      item.drop('SHARD_RESTARTED')
    this.channels.markCallsLost()
    const next = (): void => {
      if (hasCasts || this.channels.size > 0 || this.#mailbox.size > 0) this.#schedule()
    }
    if (until) this.activator.waitFor(until, next)
    else next()
  }

  /** Saves and leaves memory; channels stay and wake it again. */
  async evict(): Promise<void> {
    const activation = this.#activation
    if (!activation) return
    await activation.saveState()
    if (
      this.#activation !== activation ||
      this.isBusy ||
      this.#mailbox.size > 0 ||
      !activation.isFullyCommitted
    )
      return
    this.#engine.meter.evictions++
    this.#endActivation()
  }

  /** Nothing but its state keeps it in memory. */
  get isIdle(): boolean {
    return this.channels.size === 0 && this.#mailbox.size === 0 && this.#asyncTurns === 0
  }

  /** Forgotten altogether: nothing refers to it. */
  get isEmpty(): boolean {
    return this.#activation === null && !this.activator.isActivating && this.isIdle
  }

  #endActivation(): void {
    this.#activation?.deactivate()
    this.#activation = null
    this.#asyncTurns = 0
    this.channels.endActivation()
  }

  #schedule(): void {
    if (this.#activation) this.#engine.scheduleShard(this)
    else this.activator.activate()
  }

  get needsActivation(): boolean {
    return this.#activation === null && this.channels.hasConnection
  }

  createActivation(stored: StoredShard): () => void {
    const activation = new Activation(this.#engine, this, stored)
    return () => this.#beginActivation(activation)
  }

  #beginActivation(activation: Activation): void {
    this.#activation = activation
    this.#engine.meter.activations++
    // Channels that outlived the last life come first.
    const waiting = this.#mailbox.removeUnless(() => false)
    this.channels.restoreMembers(activation)
    for (const item of waiting) this.#mailbox.pushAlways(item)
    activation.castSender.start()
    this.#engine.scheduleShard(this)
  }

  activationFailed(error: unknown): void {
    this.#engine.log.error('the shard could not be activated', {
      shard: this.name,
      error: error instanceof Error ? (error.stack ?? error.message).slice(0, 2_000) : String(error),
    })
    const later = error instanceof CallError && error.code === 'RETRY_LATER'
    for (const item of this.#mailbox.removeUnless(() => false))
      item.drop(later ? 'RETRY_LATER' : 'UNAVAILABLE')
  }
}
