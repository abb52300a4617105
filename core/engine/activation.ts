// One activation of a shard: its state, members, timers and rows in memory, and the parts that run and commit its
// turns. Invariant: a failed commit, or one with an unknown outcome, ends the activation; the next one reads the Store.

import type { Cached } from '../game/cacheable.ts'
import type { ActivationHook, Awaitable, MemberHook } from '../game/definition.ts'
import type { TableDefinition } from '../game/table.ts'
import type { Contract } from '../wire/contract.ts'
import { InputError, shorten } from '../wire/errors.ts'
import type { Limits } from '../wire/limits.ts'
import { isKey, shardName, type ShardId } from '../wire/shardid.ts'
import type { Clock } from '../ports/clock.ts'
import type { Directory, Peer } from '../ports/directory.ts'
import type { Log, LogFields } from '../ports/log.ts'
import type { Store, StoredShard, WriteSet } from '../ports/store.ts'
import type { Channel } from '../channel/channel.ts'
import type { ChannelServices } from '../channel/channelregistry.ts'
import { MemberLifecycle, type MemberHost } from '../channel/memberlifecycle.ts'
import { Members, type Member } from '../channel/members.ts'
import type { RowCache } from '../rows/rowcache.ts'
import { TableRows } from '../rows/tablerows.ts'
import { CastReceiver } from '../turn/castreceiver.ts'
import { CastSender, type ShardPlans } from '../turn/castsender.ts'
import { KvState } from '../turn/kv.ts'
import type { ShardPlan, TurnHandler } from '../turn/plan.ts'
import { Timers } from '../turn/timers.ts'
import { TurnCommit, type CommitHost } from '../turn/turncommit.ts'
import type { TurnHost, TurnShard } from '../turn/turnhost.ts'
import { TurnRunner } from '../turn/turnrunner.ts'
import type { EngineMeter } from '../turn/meter.ts'
import type { MailboxQuota } from './mailbox.ts'
import type { RunLoop } from './runloop.ts'
import { Snapshots } from './snapshots.ts'
import { Ticker } from './ticker.ts'
import type { ValueCache } from './valuecache.ts'

/** The engine, as its shards and activations use it. */
export interface EngineServices extends Directory, ShardPlans, ChannelServices {
  readonly store: Store
  readonly meter: EngineMeter
  readonly rowCache: RowCache
  readonly valueCache: ValueCache
  readonly mailboxQuota: MailboxQuota
  readonly runLoop: RunLoop
  openShard(id: ShardId, plan: ShardPlan): Awaitable<StoredShard>
}

/** The shard, as its activation uses it. */
export interface ActivationShard extends TurnShard {
  readonly id: ShardId
  readonly plan: ShardPlan
  readonly channels: TurnHost['channels']
}

export class Activation implements TurnHost, CommitHost, MemberHost {
  readonly shardId: ShardId
  readonly name: string
  readonly plan: ShardPlan
  readonly clock: Clock
  readonly limits: Limits
  readonly meter: EngineMeter
  readonly log: Log
  readonly store: Store
  readonly rowCache: RowCache
  readonly number: number
  readonly state: unknown
  readonly kv: KvState
  readonly members = new Members<Channel>()
  readonly channels: TurnHost['channels']
  readonly timers: Timers
  readonly turnCommit: TurnCommit
  readonly runner: TurnRunner
  readonly castSender: CastSender
  readonly castReceiver: CastReceiver
  readonly memberLifecycle: MemberLifecycle
  readonly #services: EngineServices
  readonly #tables = new Map<TableDefinition, TableRows>()
  readonly #ticker: Ticker | null
  readonly #snapshots: Snapshots | null
  #isEnded = false
  #isDeactivating = false

  constructor(services: EngineServices, shard: ActivationShard, stored: StoredShard) {
    this.#services = services
    this.channels = shard.channels
    this.shardId = shard.id
    this.name = shardName(shard.id)
    this.plan = shard.plan
    this.clock = services.clock
    this.limits = services.limits
    this.meter = services.meter
    this.rowCache = services.rowCache
    this.store = services.store
    this.number = stored.activation
    this.log = shardLog(services.log, this.name)
    this.turnCommit = new TurnCommit(this, shard)
    this.runner = new TurnRunner(this, this.turnCommit, shard)
    this.timers = new Timers(this, this.runner, shard)
    this.castSender = new CastSender(this, this.runner, services, shard)
    this.castReceiver = new CastReceiver(this.runner)
    this.memberLifecycle = new MemberLifecycle(this)
    this.kv = new KvState(this.plan.kv, this.limits.maxKvBytes)
    this.kv.load(stored.kv)
    const { definition, ticker } = this.plan
    this.#snapshots = definition.snapshot && new Snapshots(definition.snapshot, this)
    const { key } = shard.id
    this.state = stored.snapshot && this.#snapshots ? this.#snapshots.load(stored.snapshot, key) : definition.init(key)
    this.timers.restore(stored.timers)
    this.castSender.restore(stored.casts)
    this.#ticker = ticker && new Ticker(this, this.runner, shard, ticker)
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  get isDeactivating(): boolean {
    return this.#isDeactivating
  }

  /** Nothing keeps it in memory: no members, volatile timers, casts or commits in progress. */
  get canEvict(): boolean {
    return (
      this.members.size === 0 && !this.timers.hasVolatile && this.castSender.size === 0 && this.turnCommit.queue.isEmpty
    )
  }

  get wakeMs(): number | null {
    const timer = this.timers.wakeMs
    const cast = this.castSender.wakeMs
    return timer === null || cast === null ? (timer ?? cast) : Math.min(timer, cast)
  }

  rows(table: TableDefinition): TableRows {
    let rows = this.#tables.get(table)
    if (!rows) this.#tables.set(table, (rows = new TableRows(this, table)))
    return rows
  }

  cached<Params, Value>(definition: Cached<Params, Value>, params: Params): Promise<Value> {
    return this.#services.valueCache.get(definition, params)
  }

  defaultKey({ name, key, hasOwnKey }: Contract): string {
    const plan = this.#services.planOf(name)
    if (!plan || plan.definition.stateless || hasOwnKey) return key
    throw new InputError(
      `c.at(${name}) has no key: ${name} is a shard, not a service, and its contract sets no default key; use c.at(${name}, key)`,
    )
  }

  checkKey(contract: Contract, key: string): void {
    if (!this.#services.planOf(contract.name)) throw new InputError(`no shard serves ${contract.name}`)
    const { maxKeyBytes } = this.limits
    if (!isKey(key, maxKeyBytes))
      throw new InputError(`key ${shorten(key)} is not 1..${maxKeyBytes} bytes without control characters`)
  }

  peer(id: ShardId): Peer {
    return this.#services.peer(id)
  }

  runMemberHook(hook: MemberHook, channel: Channel, leavingMember: Member<Channel> | null = null): void {
    const handler = this.plan.definition.hooks.get(hook) as TurnHandler | undefined
    if (handler) this.runner.runTurn(this.runner.newTurn(channel, { leavingMember }), handler, undefined)
  }

  hasHook(hook: ActivationHook): boolean {
    return this.plan.definition.hooks.has(hook)
  }

  /** `onDone` is called when the turn of the hook is committed. */
  runActivateHook(onDone: () => void, onFailed: (error: unknown) => void): void {
    this.#runHook('onActivate', onDone, onFailed)
  }

  /** Runs the hook once; `onDone` is called when its turn is committed or has failed. */
  runDeactivateHook(onDone: () => void): void {
    if (this.#isDeactivating) return onDone()
    this.#isDeactivating = true
    this.#runHook('onDeactivate', onDone, onDone)
  }

  #runHook(hook: ActivationHook, onDone: () => void, onFailed: (error: unknown) => void): void {
    const turn = this.runner.newTurn(null, { onFailed })
    turn.addEffect(onDone)
    this.runner.runTurn(turn, this.plan.definition.hooks.get(hook) as TurnHandler, undefined)
  }

  commitParts(parts: Partial<WriteSet>, onCommitted: () => void): void {
    this.turnCommit.commitParts(parts, onCommitted)
  }

  membershipChanged(): void {
    this.#ticker?.setRunning(this.members.size > 0)
  }

  checkSnapshot(): void {
    this.#snapshots?.check(this.state)
  }

  stateChanged(): void {
    this.#snapshots?.stateChanged(this.state)
  }

  /** Saves the snapshot now, if the shard has any. Resolves when all commits have ended. */
  saveState(): Promise<void> {
    this.#snapshots?.save(this.state, true)
    return this.turnCommit.queue.whenEmpty()
  }

  /** Ends the activation: no turn, timer or effect of it runs any more. */
  deactivate(): void {
    this.#isEnded = true
    this.#ticker?.setRunning(false)
    this.#snapshots?.stop()
    this.timers.stopAll()
    this.turnCommit.queue.stop()
    this.castReceiver.failWaiting()
    this.castSender.stop()
    for (const rows of this.#tables.values()) rows.releaseRows()
  }
}

function shardLog(log: Log, shard: string): Log {
  const add = (fields?: LogFields): LogFields => ({ shard, ...fields })
  return {
    info: (message, fields) => log.info(message, add(fields)),
    warn: (message, fields) => log.warn(message, add(fields)),
    error: (message, fields) => log.error(message, add(fields)),
  }
}
