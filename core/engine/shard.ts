// One shard in its engine: its channels, its mailbox and its current activation, if any. Invariant: one turn at a time
// (a service: `concurrency`), in the order of arrival. Channels outlive activations.

import { CallError } from '../wire/errors.ts'
import { TIMES } from '../wire/limits.ts'
import { shardName, type ShardId } from '../wire/shardid.ts'
import type { Awaitable } from '../game/definition.ts'
import type { StoredShard, StoredChannel } from '../ports/store.ts'
import { ChannelRegistry, type ChannelShard } from '../channel/channelregistry.ts'
import type { ShardPlan } from '../turn/plan.ts'
import { Activation, type ActivationShard, type EngineServices } from './activation.ts'
import { Activator, type ActivationTarget } from './activator.ts'
import { IncomingCalls, type CallTarget, type MailboxItem } from './incomingcalls.ts'
import { Mailbox } from './mailbox.ts'

export class Shard implements ActivationTarget, ActivationShard, CallTarget, ChannelShard {
  readonly id: ShardId
  readonly name: string
  readonly plan: ShardPlan
  readonly channels: ChannelRegistry
  readonly calls: IncomingCalls
  readonly #services: EngineServices
  readonly #mailbox: Mailbox<MailboxItem>
  readonly #activator: Activator
  #activation: Activation | null = null
  /** `onActivate` or `onDeactivate` runs: all other work waits. */
  #phase: 'running' | 'starting' | 'stopping' = 'running'
  /** The argument of `wake` until the activation begins; 0 = none. */
  #wakeMs = 0
  /** Asynchronous turns in progress. */
  #asyncTurns = 0
  /** Sweeps in a row that found the shard idle. */
  #idleSweeps = 0

  constructor(services: EngineServices, id: ShardId, plan: ShardPlan) {
    this.#services = services
    this.id = id
    this.name = shardName(id)
    this.plan = plan
    this.#mailbox = new Mailbox(services.limits.maxMailbox, services.mailboxQuota)
    this.calls = new IncomingCalls(services, this, this.#mailbox)
    this.channels = new ChannelRegistry(services, this)
    this.#activator = new Activator(services, this)
  }

  get activation(): Activation | null {
    return this.#activation
  }
  get isBusy(): boolean {
    return this.#phase !== 'running' || this.#asyncTurns >= this.plan.definition.concurrency
  }
  get isReady(): boolean {
    return this.#activation !== null && this.#mailbox.size > 0 && !this.isBusy
  }

  readChannel(name: string, onRead: (stored: StoredChannel | null) => void, onFailed: (cause: unknown) => void): void {
    let stored: Awaitable<StoredChannel | null>
    try {
      stored = this.#services.store.channel(this.id, name)
    } catch (error) {
      stored = Promise.reject(error)
    }
    if (!(stored instanceof Promise)) return onRead(stored)
    const endTurn = this.beginAsyncTurn()
    stored.then(
      (loaded) => endTurn(() => onRead(loaded)),
      (cause: unknown) => endTurn(() => onFailed(cause)),
    )
  }

  /**
   * Runs work after the queued work, or drops it when the activation ends. Never refused, so only for work with its own
   * bound: one tick, the start and the end of each channel, answers of casts, timers.
   */
  enqueueWork(run: (activation: Activation) => void): void {
    this.enqueueWithoutSchedule(run)
    this.schedule()
  }

  /** The same, but nothing runs at once. */
  enqueueWithoutSchedule(run: (activation: Activation) => void): void {
    this.#mailbox.pushAlways({ survivesRestart: false, run, drop: () => {} })
  }

  beginAsyncTurn(): (end: () => void) => void {
    const activation = this.#activation
    this.#asyncTurns++
    return (end) => {
      if (this.#activation !== activation) return
      this.#asyncTurns--
      this.inRun(end)
    }
  }

  inRun(work: () => void): void {
    const { runLoop } = this.#services
    const isOutermost = runLoop.tryBegin()
    try {
      work()
    } finally {
      if (isOutermost) runLoop.end(this)
      else this.schedule()
    }
  }

  runNext(): void {
    if (this.#activation !== null) this.#mailbox.shift()?.run(this.#activation)
  }

  schedule(): void {
    if (this.#activation) this.#services.runLoop.schedule(this)
    else this.#activator.activate()
  }

  /** Activates the shard for a durable timer or cast; a timer that was due at `dueMs` runs, whatever the wall clock reads now. */
  wake(dueMs: number): void {
    if (this.#activation) return this.#activation.timers.runDue(dueMs)
    this.#wakeMs = dueMs
    this.#activator.activate()
  }

  commitSucceeded(): void {
    this.#activator.commitSucceeded()
  }

  /** Restarts after a failed commit. Each further failure in a row delays the next activation more. */
  restartAfterFailure(until: Promise<unknown> | null = null): void {
    this.#activator.commitFailed()
    this.restart(until)
  }

  /** Ends the activation. Begins the next, after `until` settled, when channels, mail or casts wait for it. */
  restart(until: Promise<unknown> | null = null): void {
    const hasCasts = this.#activation !== null && this.#activation.castSender.size > 0
    this.#endActivation()
    for (const item of this.#mailbox.removeUnless((item) => item.survivesRestart)) item.drop('SHARD_RESTARTED')
    this.channels.markCallsLost()
    const activateNext = (): void => {
      if (hasCasts || this.channels.size > 0 || this.#mailbox.size > 0) this.schedule()
    }
    if (until) this.#activator.waitFor(until, activateNext)
    else activateNext()
  }

  /**
   * Runs `onDeactivate`, saves the snapshot and removes the activation from memory. Work that arrives after the hook has begun
   * waits for the next activation.
   */
  async evict(): Promise<void> {
    const activation = this.#activation
    if (!activation || this.#phase !== 'running') return
    if (activation.hasHook('onDeactivate')) {
      await this.deactivate(true)
      if (this.#activation !== activation) return
    }
    await activation.saveState()
    if (this.#activation !== activation) return
    const hasWork = this.isBusy || this.#mailbox.size > 0 || !activation.turnCommit.queue.isEmpty
    if (this.#phase === 'running' && hasWork) return
    this.#services.meter.evictions++
    this.#endActivation()
    if (this.#mailbox.size > 0) this.schedule()
  }

  /**
   * Runs `onDeactivate` behind the waiting work. Resolves when its turn is committed or has failed, or after its deadline: then
   * nothing waits for it any longer.
   * `isFinal`: no other work runs in this activation afterwards.
   */
  deactivate(isFinal: boolean): Promise<void> {
    const activation = this.#activation
    if (!activation?.hasHook('onDeactivate')) return Promise.resolve()
    return new Promise((resolve) => {
      let isOver = false
      const end = (): void => {
        isOver = true
        timer.cancel()
        resolve()
      }
      const timer = this.#services.clock.after(TIMES.deactivateMs, () => {
        if (!activation.isEnded) activation.log.error(`onDeactivate did not end within ${TIMES.deactivateMs} ms`)
        end()
      })
      this.enqueueWork(() => {
        if (isOver || activation.isEnded) return end()
        if (isFinal) this.#phase = 'stopping'
        activation.runDeactivateHook(end)
      })
    })
  }

  get isIdle(): boolean {
    const hasWork = this.channels.size > 0 || this.#mailbox.size > 0 || this.#asyncTurns > 0
    return !hasWork && this.#activation?.canEvict !== false
  }

  /** Removes old channels; evicts an activation that was idle in two sweeps. Returns true when nothing is left. */
  sweep(nowMs: number): boolean {
    this.channels.sweep(nowMs, TIMES.rememberMs)
    if (!this.isIdle) {
      this.#idleSweeps = 0
      return false
    }
    if (this.#activation === null && !this.#activator.isActivating) return true
    if (++this.#idleSweeps >= 2) void this.evict()
    return false
  }

  #endActivation(): void {
    this.#activation?.deactivate()
    this.#activation = null
    this.#phase = 'running'
    this.#asyncTurns = 0
    this.channels.endActivation()
  }

  get needsActivation(): boolean {
    return this.#activation === null && this.channels.hasConnection
  }

  createActivation(stored: StoredShard): () => void {
    const activation = new Activation(this.#services, this, stored)
    return () => this.#beginActivation(activation)
  }

  #beginActivation(activation: Activation): void {
    this.#activation = activation
    this.#services.meter.activations++
    activation.castSender.start()
    if (!activation.hasHook('onActivate')) return this.#activationStarted(activation)
    this.#pushFirst(() => {
      this.#phase = 'starting'
      activation.runActivateHook(
        () => this.#activationStarted(activation),
        (error) => this.#startFailed(activation, error),
      )
    })
    this.#services.runLoop.schedule(this)
  }

  #activationStarted(activation: Activation): void {
    this.#phase = 'running'
    this.#activator.activationStarted()
    // Channels of an earlier activation are introduced before any other work.
    const waiting = this.#mailbox.removeUnless(() => false)
    this.channels.restoreMembers(activation)
    for (const item of waiting) this.#mailbox.pushAlways(item)
    if (this.#wakeMs > 0) activation.timers.runDue(this.#wakeMs)
    this.#wakeMs = 0
    this.#services.runLoop.schedule(this)
  }

  #pushFirst(run: () => void): void {
    const waiting = this.#mailbox.removeUnless(() => false)
    this.enqueueWithoutSchedule(run)
    for (const item of waiting) this.#mailbox.pushAlways(item)
  }

  #startFailed(activation: Activation, error: unknown): void {
    if (this.#activation !== activation) return
    this.#endActivation()
    this.#activator.startFailed(error)
  }

  activationFailed(error: unknown): void {
    this.#services.log.error('the shard could not be activated', {
      shard: this.name,
      error,
    })
    const isTransient = error instanceof CallError && error.code === 'RETRY_LATER'
    for (const item of this.#mailbox.removeUnless(() => false)) item.drop(isTransient ? 'RETRY_LATER' : 'UNAVAILABLE')
  }
}
