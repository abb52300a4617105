// One shard as its engine knows it: who is attached, its mailbox and its current activation, if any. One turn at a
// time (a service: `concurrency`), in arrival order; channels outlive activations.

import { CallError, TRANSIENT, type SystemCode } from '../wire/errors.ts'
import type { Limits } from '../wire/limits.ts'
import { Activation } from './activation.ts'
import { Attendance } from './attendance.ts'
import type { Channel } from './channel.ts'
import type { Engine } from './engine.ts'
import { Mailbox } from './mailbox.ts'
import type { CommandPlan, ShardPlan } from './plan.ts'
import {
  RETAIN,
  shardName,
  type Awaitable,
  type PeerAnswer,
  type PeerCall,
  type ShardId,
  type Stored,
  type StoredCast,
  type StoredChannel,
} from './ports.ts'
import { NOBODY } from './turn.ts'
import { Waking, type Sleeper } from './waking.ts'

/** Work that waits for its turn. */
interface Item {
  run(life: Activation): void
  /** The shard cannot be activated, or the life it was meant for is gone. */
  drop(code: 'UNAVAILABLE' | 'SHARD_RESTARTED' | 'RETRY_LATER'): void
  /** Whether it still makes sense in the next activation. */
  readonly survives: boolean
}

export class Shard implements Sleeper {
  readonly id: ShardId
  readonly name: string
  readonly plan: ShardPlan
  readonly attendance: Attendance
  readonly #engine: Engine
  readonly #mailbox: Mailbox<Item>
  #life: Activation | null = null
  readonly waking: Waking
  /** Asynchronous turns that run now. */
  #running = 0
  /** How often in a row the engine's sweep found nothing to do here. */
  idleSweeps = 0
  /** In the engine's queue of shards with work. */
  queued = false

  constructor(engine: Engine, id: ShardId, plan: ShardPlan) {
    this.#engine = engine
    this.id = id
    this.name = shardName(id)
    this.plan = plan
    this.#mailbox = new Mailbox(engine.limits.maxMailbox, engine.mail)
    this.attendance = new Attendance(engine, this)
    this.waking = new Waking(engine, this)
  }

  get life(): Activation | null {
    return this.#life
  }
  get busy(): boolean {
    return this.#running >= this.plan.definition.concurrency
  }
  get backlog(): number {
    return this.#mailbox.size
  }
  /** The mailbox may be drained now. */
  get ready(): boolean {
    return this.#life !== null && this.#mailbox.size > 0 && !this.busy
  }

  get limits(): Limits {
    return this.#engine.limits
  }

  /** The hot path: an idle shard runs the call at once, inside the event that brought it. */
  call(channel: Channel, sequence: number, command: number, flags: number, body: Uint8Array): void {
    const { limits, mail } = this.#engine
    // The client does not know yet that its shard was lost: it sends again, behind what is older.
    if (channel.severed && !channel.legacy) return
    if (
      (flags & RETAIN) !== 0 &&
      sequence > channel.mark &&
      !channel.hasRoom(limits.maxUnackedReplies, limits.maxUnackedBytes)
    ) {
      return this.#overload(channel, sequence, command, flags, 'unacknowledged replies fill the channel')
    }
    const life = this.#life
    if (life?.settlement.congested) {
      this.#engine.meter.retryLaters++
      return this.#refuse(
        channel,
        sequence,
        command,
        flags,
        'RETRY_LATER',
        'too many turns wait for the database',
      )
    }
    if (life !== null && this.#mailbox.size === 0 && !this.busy && this.#engine.enter()) {
      try {
        life.call(channel, sequence, command, flags, body)
      } finally {
        this.#engine.leave(this)
      }
      return
    }
    if (channel.waiting >= limits.maxWaiting) {
      return this.#overload(channel, sequence, command, flags, `${channel.waiting} calls wait already`)
    }
    const item: Item = {
      // A client of version 2 sends it again itself, behind what is older; nobody does that for a legacy one.
      survives: channel.legacy,
      run: (next) => {
        channel.waiting--
        mail.bytes -= body.length
        next.call(channel, sequence, command, flags, body)
      },
      drop: (code) => {
        channel.waiting--
        mail.bytes -= body.length
        if (code === 'SHARD_RESTARTED') return
        this.#refuse(channel, sequence, command, flags, code, `${this.name} could not be activated`)
      },
    }
    if (!this.#mailbox.push(item))
      return this.#overload(channel, sequence, command, flags, 'the mailbox is full')
    channel.waiting++
    mail.bytes += body.length
    this.#wanted()
  }

  #overload(channel: Channel, sequence: number, command: number, flags: number, message: string): void {
    this.#engine.meter.overloads++
    this.#refuse(channel, sequence, command, flags, 'OVERLOADED', message)
  }

  /** Answers a call that is not run. Kept like any answer: later calls will raise the mark above it. */
  #refuse(
    channel: Channel,
    sequence: number,
    command: number,
    flags: number,
    code: SystemCode,
    message: string,
  ): void {
    if ((flags & RETAIN) !== 0) channel.keepError(sequence, command, 'system', code, message)
    const plan = channel.legacy && TRANSIENT.has(code) ? this.plan.commands.get(command) : null
    const body = plan ? this.legacyRefusal(plan, code) : null
    if (body) return channel.out?.reply(sequence, command, body)
    channel.out?.error(sequence, command, 'system', code, message)
  }

  /** null where the codec has no form for it, as raw has none for the default `{error}`: then it is silence. */
  legacyRefusal(command: CommandPlan, code: string): Uint8Array | null {
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
  peer(call: PeerCall, answer: ((answer: PeerAnswer) => void) | null): void {
    const refuse = (code: string, message: string): void => answer?.({ kind: 'system', code, message })
    const item: Item = {
      survives: true,
      run: (life) => {
        if (call.deadlineMs !== 0 && life.clock.now() >= call.deadlineMs) return
        const { chain, deadlineMs } = call
        life.perform({ ...NOBODY, chain, deadlineMs, answer }, call.command, call.body)
      },
      drop: () => refuse('UNAVAILABLE', `${this.name} could not be activated`),
    }
    if (this.#mailbox.push(item)) return this.#wanted()
    this.#engine.meter.overloads++
    if (!answer) this.#engine.log.warn('a cast is dropped: the mailbox is full', { shard: this.name })
    refuse('OVERLOADED', `the mailbox of ${this.name} is full`)
  }

  /** A durable cast of another shard: refused only when it was not begun. */
  deliver(sender: string, cast: StoredCast, answer: (answer: PeerAnswer) => void): void {
    const refuse = (code: SystemCode, message: string): void => answer({ kind: 'system', code, message })
    if (this.plan.definition.stateless)
      return refuse('FORBIDDEN', `${this.plan.contract.name} is a service: it remembers no durable cast`)
    const item: Item = {
      survives: true,
      run: (life) => this.#receive(life, sender, cast, answer),
      drop: (code) => refuse(code, `${this.name} could not be activated`),
    }
    if (this.#mailbox.push(item)) return this.#wanted()
    this.#engine.meter.overloads++
    refuse('OVERLOADED', `the mailbox of ${this.name} is full`)
  }

  #receive(life: Activation, sender: string, cast: StoredCast, answer: (answer: PeerAnswer) => void): void {
    const { receipts } = life
    if (receipts.has(sender)) return receipts.receive(sender, cast, answer)
    const loaded = (stored: StoredChannel | null): void => {
      receipts.load(sender, stored)
      receipts.receive(sender, cast, answer)
    }
    const stored = this.stored(`@${sender}`)
    if (!(stored instanceof Promise)) return loaded(stored)
    const resume = this.hold()
    stored.then(
      (found) => resume(() => loaded(found)),
      (cause: unknown) =>
        resume(() => answer({ kind: 'system', code: 'UNAVAILABLE', message: String(cause) })),
    )
  }

  /** What the Store has of a channel. A disk that cannot be read says so by the promise. */
  stored(channel: string): Awaitable<StoredChannel | null> {
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
  soon(run: (life: Activation) => void): void {
    this.queue(run)
    this.#wanted()
  }

  /** The same, but that nothing is run at once. */
  queue(run: (life: Activation) => void): void {
    this.#mailbox.pushAlways({ survives: false, run, drop: () => {} })
  }

  /** An asynchronous turn begins; the returned function ends it, inside the engine's run. */
  hold(): (end: () => void) => void {
    const life = this.#life
    this.#running++
    return (end) => {
      if (this.#life !== life) return
      this.#running--
      this.inRun(end)
    }
  }

  /** Does work inside the engine's run: turns that it causes wait until it is done. */
  inRun(work: () => void): void {
    const outermost = this.#engine.enter()
    try {
      work()
    } finally {
      if (outermost) this.#engine.leave(this)
      else this.#wanted()
    }
  }

  /** Runs one item. */
  step(): void {
    const life = this.#life
    if (life !== null) this.#mailbox.shift()?.run(life)
  }

  /** Wakes the shard though nobody spoke: a durable timer is near. */
  wake(): void {
    if (!this.#life) this.waking.begin()
  }

  /** A commit failed. What made it fail may last: each further activation in a row waits longer for its turn. */
  setBack(until: Promise<unknown> | null = null): void {
    this.waking.setBack()
    this.restart(until)
  }

  /** Ends the activation and, because channels, mail or casts wait for it, begins the next; not before `until` has ended. */
  restart(until: Promise<unknown> | null = null): void {
    const casts = this.#life !== null && this.#life.casts.size > 0
    this.#endLife()
    for (const item of this.#mailbox.sift((item) => item.survives)) item.drop('SHARD_RESTARTED')
    this.attendance.sever()
    const next = (): void => {
      if (casts || this.attendance.size > 0 || this.#mailbox.size > 0) this.#wanted()
    }
    if (until) this.waking.hold(until, next)
    else next()
  }

  /** Saves and leaves memory; channels stay and wake it again. */
  async evict(): Promise<void> {
    const life = this.#life
    if (!life) return
    await life.save()
    if (this.#life !== life || this.busy || this.#mailbox.size > 0 || !life.settled) return
    this.#engine.meter.evictions++
    this.#endLife()
  }

  /** Nothing but its state keeps it in memory. */
  get idle(): boolean {
    return this.attendance.size === 0 && this.#mailbox.size === 0 && this.#running === 0
  }

  /** Forgotten altogether: nothing refers to it. */
  get empty(): boolean {
    return this.#life === null && !this.waking.busy && this.idle
  }

  #endLife(): void {
    this.#life?.end()
    this.#life = null
    this.#running = 0
    this.attendance.endLife()
  }

  #wanted(): void {
    if (this.#life) this.#engine.want(this)
    else this.waking.begin()
  }

  get isAwaited(): boolean {
    return this.#life === null && this.attendance.isAwaited
  }

  awake(stored: Stored): () => void {
    const life = new Activation(this.#engine, this, stored)
    return () => this.#begin(life)
  }

  #begin(life: Activation): void {
    this.#life = life
    this.#engine.meter.activations++
    // Channels that outlived the last life come first.
    const waiting = this.#mailbox.sift(() => false)
    this.attendance.begin(life)
    for (const item of waiting) this.#mailbox.pushAlways(item)
    life.casts.start()
    this.#engine.want(this)
  }

  notAwake(error: unknown): void {
    this.#engine.log.error('the shard could not be activated', {
      shard: this.name,
      error: error instanceof Error ? (error.stack ?? error.message).slice(0, 2_000) : String(error),
    })
    const later = error instanceof CallError && error.code === 'RETRY_LATER'
    for (const item of this.#mailbox.sift(() => false)) item.drop(later ? 'RETRY_LATER' : 'UNAVAILABLE')
  }
}
