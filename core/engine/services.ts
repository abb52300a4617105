// The engine as its shards and activations use it; core/engine/engine.ts implements it.

import type { ShardId } from '../wire/shardid.ts'
import type { Awaitable } from '../game/shard.ts'
import type { Directory } from '../ports/directory.ts'
import type { StoredShard } from '../ports/store.ts'
import type { ChannelServices } from '../channel/channelregistry.ts'
import type { RowCache } from '../rows/rowcache.ts'
import type { ShardPlans } from '../turn/castanswers.ts'
import type { ShardPlan } from '../turn/plan.ts'
import type { CommitStore } from '../turn/turncommit.ts'
import type { MailboxQuota } from './mailbox.ts'
import type { EngineMeter } from '../turn/meter.ts'
import type { RunLoop } from './runloop.ts'
import type { ValueCache } from './valuecache.ts'

export interface EngineServices extends Directory, ShardPlans, CommitStore, ChannelServices {
  readonly meter: EngineMeter
  readonly rowCache: RowCache
  readonly valueCache: ValueCache
  readonly mailboxQuota: MailboxQuota
  readonly runLoop: RunLoop
  openShard(id: ShardId, plan: ShardPlan): Awaitable<StoredShard>
}
