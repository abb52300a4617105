// Calls and casts that arrive at one shard: they run at once where the shard is idle, else they wait in its mailbox.
// Invariant: every call that is not run is answered, unless its sender sends it again by itself.

import { TRANSIENT_CODES, type SystemCode } from '../wire/errors.ts'
import { REFUSE, RETAIN } from '../ports/link.ts'
import { systemError, type PeerAnswer, type PeerCall } from '../ports/directory.ts'
import type { StoredCast } from '../ports/store.ts'
import type { Channel } from '../channel/channel.ts'
import type { ChannelShard } from '../channel/channelregistry.ts'
import { NO_CALLER, type TurnShard } from '../turn/turnhost.ts'
import type { ShardPlan } from '../turn/plan.ts'
import { encodeLegacyRefusal } from '../turn/turncommit.ts'
import type { Activation, EngineServices } from './activation.ts'
import type { Mailbox } from './mailbox.ts'
import type { Runnable } from './runloop.ts'

/** Work that waits for its turn. */
export interface MailboxItem {
  run(activation: Activation): void
  /** The shard could not be activated, or the activation of this item ended. */
  drop(code: 'UNAVAILABLE' | 'SHARD_RESTARTED' | 'RETRY_LATER'): void
  /** The item is still valid in the next activation. */
  readonly survivesRestart: boolean
}

/** The shard, as calls use it. */
export interface CallTarget extends Runnable, Pick<ChannelShard, 'name' | 'readChannel'>, Pick<TurnShard, 'isBusy'> {
  readonly plan: ShardPlan
  readonly activation: Activation | null
  /** Has the engine run the mailbox, after an activation if necessary. */
  schedule(): void
}

export class IncomingCalls {
  readonly #services: EngineServices
  readonly #shard: CallTarget
  readonly #mailbox: Mailbox<MailboxItem>

  constructor(services: EngineServices, shard: CallTarget, mailbox: Mailbox<MailboxItem>) {
    this.#services = services
    this.#shard = shard
    this.#mailbox = mailbox
  }

  /** The hot path: an idle shard runs a call inside the event that delivered it. */
  handleCall(channel: Channel, sequence: number, command: number, flags: number, body: Uint8Array): void {
    const { limits, meter, runLoop } = this.#services
    // The client has not yet received that the activation ended. It sends the call again, after its earlier calls.
    if (channel.callsLost && !channel.legacy) return
    if (
      (flags & RETAIN) !== 0 &&
      sequence > channel.mark &&
      !channel.replies.hasRoom(limits.maxUnackedReplies, limits.maxUnackedBytes)
    ) {
      const message = 'unacknowledged replies fill the channel'
      return this.#refuseCall(channel, sequence, command, flags, 'OVERLOADED', message)
    }
    // A call that was sent again and has run gets its answer.
    if ((flags & REFUSE) !== 0 && (channel.legacy || sequence > channel.mark))
      return this.#refuseCall(channel, sequence, command, flags, 'OVERLOADED', 'the server is overloaded')
    const { activation } = this.#shard
    if (activation?.turnCommit.isCongested) {
      meter.retryLaters++
      const message = 'too many turns wait for the database'
      return this.#refuseCall(channel, sequence, command, flags, 'RETRY_LATER', message)
    }
    if (activation !== null && this.#mailbox.size === 0 && !this.#shard.isBusy && runLoop.tryBegin()) {
      try {
        activation.runner.runCall(channel, sequence, command, flags, body)
      } finally {
        runLoop.end(this.#shard)
      }
      return
    }
    if (channel.queuedCalls >= limits.maxWaiting) {
      const message = `${channel.queuedCalls} calls wait already`
      return this.#refuseCall(channel, sequence, command, flags, 'OVERLOADED', message)
    }
    if (!this.#queueCall(channel, sequence, command, flags, body))
      return this.#refuseCall(channel, sequence, command, flags, 'OVERLOADED', 'the mailbox is full')
    this.#shard.schedule()
  }

  #queueCall(channel: Channel, sequence: number, command: number, flags: number, body: Uint8Array): boolean {
    const { mailboxQuota } = this.#services
    const isQueued = this.#mailbox.push({
      // A client of version 2 sends the call again, after its earlier calls. A legacy client does not.
      survivesRestart: channel.legacy,
      run: ({ runner }) => {
        channel.addQueuedCalls(-1)
        mailboxQuota.addBytes(-body.length)
        runner.runCall(channel, sequence, command, flags, body)
      },
      drop: (code) => {
        channel.addQueuedCalls(-1)
        mailboxQuota.addBytes(-body.length)
        if (code === 'SHARD_RESTARTED') return
        this.#refuseCall(channel, sequence, command, flags, code, this.#notActivated)
      },
    })
    if (!isQueued) return false
    channel.addQueuedCalls(1)
    mailboxQuota.addBytes(body.length)
    return true
  }

  /** Answers a call that is not run. The answer is stored like a reply, because later calls raise the mark above it. */
  #refuseCall(
    channel: Channel,
    sequence: number,
    command: number,
    flags: number,
    code: SystemCode,
    message: string,
  ): void {
    if ((flags & RETAIN) !== 0) channel.replies.addError(sequence, command, 'system', code, message)
    const { name, plan } = this.#shard
    const { meter, log } = this.#services
    if (code === 'OVERLOADED') meter.overloads++
    const commandPlan = channel.legacy && TRANSIENT_CODES.has(code) ? plan.commands.get(command) : null
    const body = commandPlan ? encodeLegacyRefusal({ name, plan, meter, log }, commandPlan, code) : null
    if (body) channel.out?.reply(sequence, command, body)
    else channel.out?.error(sequence, command, 'system', code, message)
  }

  /** Queues a call (`reply`) or a volatile cast (null) of another shard. */
  receivePeerCall(call: PeerCall, reply: ((answer: PeerAnswer) => void) | null): void {
    const { command, body, chain, timeoutMs } = call
    const deadlineMs = timeoutMs === 0 ? 0 : this.#services.clock.mono() + timeoutMs
    const refuse = (code: SystemCode, message: string): void => reply?.(systemError(code, message))
    const item: MailboxItem = {
      survivesRestart: true,
      run: ({ runner, clock }) => {
        if (deadlineMs !== 0 && clock.mono() >= deadlineMs) return
        runner.runCommand({ ...NO_CALLER, chain, deadlineMs, onAnswer: reply }, command, body)
      },
      drop: () => refuse('UNAVAILABLE', this.#notActivated),
    }
    if (this.#queuePeerItem(item, refuse) || reply) return
    this.#services.log.warn('a cast is dropped: the mailbox is full', { shard: this.#shard.name })
  }

  /** Queues a durable cast of another shard. */
  receiveDurableCast(sender: string, cast: StoredCast, reply: (answer: PeerAnswer) => void): void {
    const { contract, stateless } = this.#shard.plan.definition
    const refuse = (code: SystemCode, message: string): void => reply(systemError(code, message))
    if (stateless) return refuse('FORBIDDEN', `${contract.name} is a service: it has no storage for durable casts`)
    const item: MailboxItem = {
      survivesRestart: true,
      run: (activation) => this.#runDurableCast(activation, sender, cast, reply),
      drop: (code) => refuse(code, this.#notActivated),
    }
    this.#queuePeerItem(item, refuse)
  }

  #queuePeerItem(item: MailboxItem, refuse: (code: SystemCode, message: string) => void): boolean {
    if (this.#mailbox.push(item)) {
      this.#shard.schedule()
      return true
    }
    this.#services.meter.overloads++
    refuse('OVERLOADED', `the mailbox of ${this.#shard.name} is full`)
    return false
  }

  get #notActivated(): string {
    return `${this.#shard.name} could not be activated`
  }

  #runDurableCast(
    { castReceiver }: Activation,
    sender: string,
    cast: StoredCast,
    reply: (answer: PeerAnswer) => void,
  ): void {
    if (castReceiver.hasSender(sender)) return castReceiver.applyCast(sender, cast, reply)
    this.#shard.readChannel(
      `@${sender}`,
      (stored) => {
        castReceiver.loadSender(sender, stored)
        castReceiver.applyCast(sender, cast, reply)
      },
      (cause) => reply(systemError('UNAVAILABLE', String(cause))),
    )
  }
}
