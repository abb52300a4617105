// The Node host's figures for Prometheus. Engine and gateway only count; here the counts get names and units.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Host } from '../../core/node/host.ts'
import type { EngineMeter } from '../../core/turn/meter.ts'
import type { FlusherMetrics } from '../../core/outbox/flushmetrics.ts'
import type { TieredStore } from '../../core/outbox/tieredstore.ts'
import type { Gateway } from '../gateway/gateway.ts'

const LATENCY_BUCKETS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
]

const ENGINE_COUNTERS: readonly (readonly [keyof EngineMeter, string])[] = [
  ['turns', 'turns begun'],
  ['events', 'events sent by turns, each counted once however many receive it'],
  ['refusals', 'turns that ended with a declared refusal'],
  ['bugs', 'turns that threw and were rolled back'],
  ['badInputs', 'bodies refused by codec or schema'],
  ['overloads', 'calls refused because a queue was full'],
  ['commits', 'write sets given to the store'],
  ['lostCommits', 'commits that failed or whose outcome is unknown'],
  ['activations', 'shards activated'],
  ['evictions', 'idle shards put out of memory'],
  ['stepsSkipped', 'fixed steps left out because the shard was late'],
  ['rowHits', 'rows found in memory'],
  ['rowReads', 'rows and lists of rows read from the store'],
  ['cacheHits', 'recomputable values found in memory'],
  ['cacheLoads', 'recomputable values computed'],
  ['retryLaters', 'callers told RETRY_LATER because MySQL had not confirmed in time'],
  ['castRetries', 'durable casts delivered again'],
  ['resyncs', 'channels whose missed events were not all kept'],
]

const GATEWAY_COUNTERS = [
  ['throttles', 'times a connection was above its budget and was not read'],
  ['holds', 'times a connection read so slowly that its events waited'],
  ['resumes', 'sessions that came back on a new connection'],
  ['pings', 'heartbeats sent'],
] as const

const FLUSH_COUNTERS: readonly (readonly [key: keyof FlusherMetrics, help: string, name?: string])[] = [
  ['flushedRows', 'row changes that MySQL has'],
  ['flushedTurns', 'turns that MySQL has'],
  ['transactions', 'transactions sent to MySQL'],
  ['retries', 'transactions sent again'],
  ['parked', 'turns that MySQL refused and that stand in firefly_parked'],
  ['refused', 'critical turns that MySQL refused and that were taken back', 'refused_turns'],
  ['lost', 'acknowledged turns that MySQL will never have'],
  ['fenced', 'owners that were taken over by somebody else'],
]

/** A registry with all figures of this process; `metrics()` renders it. */
export function createMetrics({ engine, tiers }: Host, gateway: Gateway): Registry {
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
  gauge('firefly_connections', 'open connections', () => gateway.connectionCount)
  gauge('firefly_sessions', 'sessions with a live connection', () => gateway.sessions.size)
  gauge('firefly_shards', 'shards known to this process', () => engine.shards)
  gauge('firefly_backlog', 'work that waits in all mailboxes', () => engine.backlog)
  counter('firefly_accepted_total', 'connections accepted', () => gateway.meter.accepted)
  counter('firefly_frames_in_total', 'frames received', () => gateway.meter.framesIn)
  counter('firefly_bytes_in_total', 'bytes received', () => gateway.meter.bytesIn)
  counter('firefly_bytes_out_total', 'bytes sent', () => gateway.meter.bytesOut)
  for (const [key, help] of GATEWAY_COUNTERS) counter(`firefly_${key}_total`, help, () => gateway.meter[key])
  gauge(
    'firefly_unproven',
    'connections that have not proven themselves yet',
    () => gateway.connectionLimiter.unauthenticated,
  )
  gauge('firefly_addresses', 'addresses with a connection', () => gateway.connectionLimiter.addressCount)
  counter('firefly_strikes_total', 'refused messages of legacy clients', () => gateway.meter.strikes)
  counter(
    'firefly_pauses_total',
    'times a connection was paused because its calls waited',
    () => gateway.meter.pauses,
  )
  for (const [key, help] of ENGINE_COUNTERS) {
    counter(`firefly_${snakeCase(key)}_total`, help, () => engine.meter[key])
  }
  gauge('firefly_row_cache_bytes', 'rows in memory, by weight', () => engine.rowCache.bytes)
  gauge('firefly_row_cache_rows', 'rows in memory', () => engine.rowCache.rows)
  if (tiers) {
    counter('firefly_shard_loads_total', 'shards loaded from MySQL', () => tiers.metrics.loads)
    counter('firefly_rows_loaded_total', 'rows loaded from MySQL', () => tiers.metrics.loadedRows)
    for (const [key, help, name = snakeCase(key)] of FLUSH_COUNTERS)
      counter(`firefly_${name}_total`, help, () => sumOf(tiers, key))
  }
  new Counter({
    name: 'firefly_closes_total',
    help: 'connections closed, by reason',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of gateway.meter.closes) this.inc({ reason }, count)
    },
  })
  new Counter({
    name: 'firefly_turned_away_total',
    help: 'connections refused with OVERLOADED, by the bound they met',
    labelNames: ['bound'],
    registers,
    collect() {
      this.reset()
      for (const [bound, count] of Object.entries(gateway.connectionLimiter.rejections))
        this.inc({ bound }, count)
    },
  })
  new Counter({
    name: 'firefly_errors_total',
    help: 'system errors answered to version 2 clients, by code',
    labelNames: ['code'],
    registers,
    collect() {
      this.reset()
      for (const [code, count] of gateway.meter.errors) this.inc({ code }, count)
    },
  })
  const rtt = new Histogram({
    name: 'firefly_rtt_seconds',
    help: 'heartbeats of version 2, from PING to PONG',
    buckets: LATENCY_BUCKETS,
    registers,
  })
  gateway.meter.onRoundTrip = (ms) => rtt.observe(ms / 1_000)
  const latency = new Histogram({
    name: 'firefly_message_latency_seconds',
    help: 'sampled calls, from their frame to their answer',
    buckets: LATENCY_BUCKETS,
    registers,
  })
  gateway.meter.onCallLatency = (ms) => latency.observe(ms / 1_000)
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
