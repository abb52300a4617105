// The metrics of the Node host for Prometheus. Engine and gateway only count; this file gives the counts names and units.
// A counter's name is derived from its property.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Host } from '../../core/node/host.ts'
import { droppedLines } from '../../core/node/stdio.ts'
import type { EngineMeter } from '../../core/turn/meter.ts'
import type { FlusherMetrics } from '../../core/outbox/flusher.ts'
import type { TieredStore } from '../../core/outbox/tieredstore.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { ListenerRejections, PendingSockets } from './pendingsockets.ts'

const LATENCY_BUCKETS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
]

const ENGINE_COUNTERS: readonly (readonly [keyof EngineMeter, string])[] = [
  ['turns', 'turns started'],
  ['events', 'events sent by turns; an event to many sessions counts once'],
  ['refusals', 'turns that ended with a declared refusal'],
  ['bugs', 'turns that threw an error and were rolled back'],
  ['badInputs', 'bodies rejected by codec or schema'],
  ['overloads', 'calls rejected because a queue was full'],
  ['commits', 'write sets committed to the store'],
  ['lostCommits', 'commits that failed or whose outcome is unknown'],
  ['snapshotsRefused', 'snapshots not saved because they could not be encoded or were too large'],
  ['activations', 'shards activated'],
  ['evictions', 'idle shards removed from memory'],
  ['stepsSkipped', 'fixed steps skipped because the shard was late'],
  ['rowHits', 'rows found in memory'],
  ['rowReads', 'rows and lists of rows read from the store'],
  ['cacheHits', 'recomputable values found in memory'],
  ['cacheLoads', 'recomputable values computed'],
  ['retryLaters', 'calls answered RETRY_LATER because MySQL did not confirm in time'],
  ['castRetries', 'durable casts that were sent again'],
  ['resyncs', 'channels that were resynchronized because missed events were no longer stored'],
]

const GATEWAY_COUNTERS = [
  ['accepted', 'connections accepted'],
  ['framesIn', 'frames received'],
  ['bytesIn', 'bytes received'],
  ['bytesOut', 'bytes sent'],
  ['throttles', 'times reading paused because a connection exceeded its rate limit'],
  ['refusedCalls', 'calls answered OVERLOADED because players sent more than the process can handle'],
  ['holds', 'times events paused because a client read too slowly'],
  ['resumes', 'sessions resumed on a new connection'],
  ['pings', 'heartbeats sent'],
  ['strikes', 'rejected messages of legacy clients'],
  ['pauses', 'times reading paused because too many calls were pending'],
] as const

const FLUSH_COUNTERS: readonly (readonly [key: keyof FlusherMetrics, help: string, name?: string])[] = [
  ['flushedRows', 'row changes written to MySQL'],
  ['flushedTurns', 'turns written to MySQL'],
  ['transactions', 'transactions sent to MySQL'],
  ['retries', 'transactions that were sent again'],
  ['parked', 'turns that MySQL rejected and that are stored in firefly_parked'],
  ['refused', 'critical turns that MySQL rejected and that were reverted', 'refused_turns'],
  ['lost', 'acknowledged turns that will never be written to MySQL'],
  ['fenced', 'owners that lost their lease to another process'],
]

type Counts = Iterable<readonly [value: string, count: number]>

/** Returns a registry with all metrics of this process; `metrics()` renders it. */
export function createMetrics(
  { engine, tiers }: Host,
  gateway: Gateway,
  rejections: ListenerRejections,
  pendingSockets: PendingSockets,
): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({ name, help, registers, collect: set })
    function set(this: Gauge): void {
      this.set(read())
    }
  }
  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({ name, help, registers, collect: set })
    function set(this: Counter): void {
      this.reset()
      this.inc(read())
    }
  }
  const counterBy = (name: string, help: string, label: string, read: () => Counts): void => {
    new Counter({ name, help, labelNames: [label], registers, collect: set })
    function set(this: Counter): void {
      this.reset()
      for (const [value, count] of read()) this.inc({ [label]: value }, count)
    }
  }
  const histogram = (name: string, help: string): Histogram =>
    new Histogram({ name, help, buckets: LATENCY_BUCKETS, registers })
  const { meter, connectionLimiter } = gateway
  gauge('firefly_connections', 'open connections', () => gateway.connectionCount)
  gauge('firefly_sessions', 'sessions with an open connection', () => gateway.sessionCount)
  gauge('firefly_shards', 'shards known to this process', () => engine.shards)
  gauge('firefly_backlog', 'entries in all mailboxes', () => engine.backlog)
  for (const [key, help] of GATEWAY_COUNTERS) counter(`firefly_${snakeCase(key)}_total`, help, () => meter[key])
  gauge('firefly_unproven', 'unauthenticated connections', () => connectionLimiter.counts.unauthenticated)
  gauge('firefly_addresses', 'addresses with a connection or a reserved seat', () => connectionLimiter.addressCount)
  for (const [key, help] of ENGINE_COUNTERS) counter(`firefly_${snakeCase(key)}_total`, help, () => engine.meter[key])
  gauge('firefly_unread_bytes', 'bytes that clients have not read', () => gateway.unreadBudget.bytes)
  gauge('firefly_row_cache_bytes', 'rows in memory, by weight', () => engine.rowCache.bytes)
  gauge('firefly_row_cache_rows', 'rows in memory', () => engine.rowCache.rows)
  counter('firefly_log_dropped_total', 'lines that standard output or standard error did not take', droppedLines)
  if (tiers) {
    counter('firefly_shard_loads_total', 'shards loaded from MySQL', () => tiers.metrics.loads)
    counter('firefly_rows_loaded_total', 'rows loaded from MySQL', () => tiers.metrics.loadedRows)
    for (const [key, help, name = snakeCase(key)] of FLUSH_COUNTERS)
      counter(`firefly_${name}_total`, help, () => sumOf(tiers, key))
    const refusedHelp = 'tables that MySQL refuses to write at present, counted for each owner'
    gauge('firefly_refused_tables', refusedHelp, () => sumOf(tiers, 'refusedTables'))
  }
  counterBy('firefly_closes_total', 'connections closed, by reason', 'reason', () => meter.closes)
  const turnedAwayHelp = 'connections rejected with OVERLOADED, by exceeded limit'
  counterBy('firefly_turned_away_total', turnedAwayHelp, 'bound', () =>
    Object.entries(connectionLimiter.counts.rejections),
  )
  counterBy('firefly_errors_total', 'system errors sent to version 2 clients, by code', 'code', () => meter.errors)
  const rejectedHelp = 'connections and upgrades rejected by the listeners, by reason'
  counterBy('firefly_refused_total', rejectedHelp, 'reason', () => rejections.counts)
  gauge('firefly_lobby', 'sockets in a TLS handshake or in use by HTTP', () => pendingSockets.socketCount)
  const rtt = histogram('firefly_rtt_seconds', 'round trip of version 2 heartbeats, from PING to PONG')
  const latency = histogram('firefly_message_latency_seconds', 'latency of sampled calls, from frame to reply')
  meter.observeLatency((kind, ms) => (kind === 'call' ? latency : rtt).observe(ms / 1_000))
  return registry
}

function sumOf(tiers: TieredStore, key: keyof FlusherMetrics): number {
  let sum = 0
  for (const metrics of tiers.metrics.owners.values()) sum += metrics[key]
  return sum
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
