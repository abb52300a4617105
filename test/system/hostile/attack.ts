// An attack is one row of docs/hostile.md and one test. It passes when the peer receives what the row states, the counters
// of the row rise, no connection is closed and no session receives an error for another reason, and both well-behaved
// players are still answered.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { DEADLINE_MS, TOLERANCE_MS, until, waitFor } from '../../support/wait.ts'
import { AttackHarness } from './harness.ts'
import type { Overrides } from './server.ts'

export interface Attack {
  /** Name of the test: what the server does. */
  readonly name: string
  /** What the peer receives. */
  readonly receives: string
  /** Minimum increase of each counter. */
  readonly counters: Readonly<Record<string, number>>
  /** Attacks, and asserts what the peer receives. */
  run(harness: AttackHarness): Promise<void>
}

export interface Suite {
  readonly attacks: readonly Attack[]
  /** Options of the server under attack that differ from the defaults. */
  readonly overrides: Overrides
}

/** The counter of closed connections. */
export function closeCounter(reason: string, count = 1): Record<string, number> {
  return { [`firefly_closes_total{reason="${reason}"}`]: count }
}

/** The counter of errors sent to version 2 sessions. */
export function errorCounter(code: string, count = 1): Record<string, number> {
  return { [`firefly_errors_total{code="${code}"}`]: count }
}

/** The counter of connections and requests that the listeners reject. */
export function refusalCounter(reason: string, count = 1): Record<string, number> {
  return { [`firefly_refused_total{reason="${reason}"}`]: count }
}

/** The counters of connections above a connection limit. */
export function turnedAwayCounters(bound: string, count: number): Record<string, number> {
  return { ...closeCounter('OVERLOADED', count), [`firefly_turned_away_total{bound="${bound}"}`]: count }
}

/** How long a reply to a player may take during an attack. */
const MAX_LATENCY_MS = 2_000 + TOLERANCE_MS
/** Replies that each player must receive after the attack. */
const REPLIES_AFTER = 5
/** Counters that each call of the players raises by one too. */
const SHARED_COUNTERS = new Set(['firefly_frames_in_total', 'firefly_turns_total'])

/** Registers a test per attack, all on one server. */
export function registerAttacks({ attacks, overrides }: Suite): void {
  let harness: AttackHarness
  before(async () => void (harness = await AttackHarness.startServer(overrides)))
  after(() => harness?.close())
  for (const attack of attacks) test(attack.name, { timeout: 2 * DEADLINE_MS }, () => runAttack(attack, harness))
}

async function runAttack(attack: Attack, harness: AttackHarness): Promise<void> {
  const { controls } = harness
  const metricsBefore = await harness.readMetrics()
  const repliesBefore = controls.replyCount
  controls.maxLatencyMs = 0
  try {
    await attack.run(harness)
    await assertCounters(attack, harness, metricsBefore, repliesBefore)
    const { sdk, legacy } = controls.replies
    const isAnswered = (): boolean =>
      controls.replies.sdk >= sdk + REPLIES_AFTER && controls.replies.legacy >= legacy + REPLIES_AFTER
    await waitFor(() => isAnswered() || controls.failures.length > 0, 'replies to both players')
    assert.deepEqual(controls.failures, [], 'failures of the players')
    assert.ok(controls.maxLatencyMs < MAX_LATENCY_MS, `a reply to a player took ${controls.maxLatencyMs} ms`)
  } finally {
    harness.closeConnections()
  }
}

async function assertCounters(
  { counters }: Attack,
  harness: AttackHarness,
  before: ReadonlyMap<string, number>,
  repliesBefore: number,
): Promise<void> {
  let now = before
  let controlCalls = 0
  const increase = (name: string): number =>
    (now.get(name) ?? 0) - (before.get(name) ?? 0) - (SHARED_COUNTERS.has(name) ? controlCalls : 0)
  const isRisen = async (): Promise<boolean> => {
    // One call of each player may have been counted before the attack and answered during it.
    controlCalls = harness.controls.replyCount - repliesBefore - 2
    now = await harness.readMetrics()
    return Object.entries(counters).every(([name, minimum]) => increase(name) >= minimum)
  }
  await until(isRisen, MAX_LATENCY_MS)
  for (const [name, minimum] of Object.entries(counters))
    assert.ok(increase(name) >= minimum, `${name} rose by ${increase(name)} instead of ${minimum}`)
  // Peers may also close by themselves, and an expected error may be sent more often.
  const isExpected = (name: string): boolean =>
    name.includes('"PEER"') || (name.startsWith('firefly_errors_total') && name in counters)
  for (const name of now.keys())
    if (/^firefly_(closes|strikes|errors)_total/.test(name) && !isExpected(name))
      assert.ok(increase(name) <= (counters[name] ?? 0), `${name} rose by ${increase(name)} too`)
}
