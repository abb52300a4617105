// 500 clients that never read, in a storm of events: the memory that the server uses for them relative to its limit for
// each client, and whether clients that read miss events. The kernel's memory is printed separately, because the server
// cannot limit it.

import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { printRatio, type Profile } from '../figure.ts'
import { progress, roundFigure } from '../../support/figure.ts'
import { canPin, LOAD_CORE, SERVER_CORE } from '../server.ts'
import { startChild } from './child.ts'
import { STORM_BYTES, STORM_HZ } from './game.ts'
import type { Protocol } from '../../support/rawclient.ts'
import { readMemory, startTargetServer } from './target.ts'

const READERS = 20
/** Unread bytes of the connection plus unacknowledged bytes of its channel; a legacy client has no acknowledgements. */
const BOUNDS: Readonly<Record<Protocol, number>> = {
  v2: DEFAULT_LIMITS.maxUnreadBytes + DEFAULT_LIMITS.maxUnackedEventBytes,
  legacy: DEFAULT_LIMITS.maxOutboundBytes,
}
/** The part of the broadcast events that the readers must receive. */
const MIN_RECEIVED_RATIO = 0.98
/** Consecutive readings that must not exceed the previous maximum. */
const STEADY_READINGS = 3
const STEADY_RATIO = 1.01

export async function measureSlowReaders(profile: Profile): Promise<void> {
  for (const protocol of ['v2', 'legacy'] as const) await measure(profile, protocol)
}

async function measure(profile: Profile, protocol: Protocol): Promise<void> {
  const nonReaders = profile.quick ? 20 : 500
  const sampleMs = profile.quick ? 300 : 3_000
  const maxReadings = profile.quick ? 2 : 60
  const pinned = canPin()
  await using server = await startTargetServer(pinned ? SERVER_CORE : null)
  const port = (await server.request('ports'))['tcp']!
  await using subscribers = await startChild(new URL('subscribers.ts', import.meta.url), {
    core: pinned ? LOAD_CORE : null,
    args: [protocol, port],
  })
  await subscribers.request('readers', READERS)
  const alone = await subscribers.request('sample', sampleMs)
  const before = await readMemory(server, 'collected')
  progress(`attack: ${nonReaders} ${protocol} clients that never read …`)
  await subscribers.request('nonReaders', nonReaders)
  const peak = { rss: 0, heap: 0, kernel: 0, sum: 0 }
  let [readings, steady, news, leastNews] = [0, 0, 0, Infinity]
  let received = alone
  for (; readings < maxReadings && steady < STEADY_READINGS; readings++) {
    received = await subscribers.request('sample', sampleMs)
    news += received['news']!
    leastNews = Math.min(leastNews, received['news']!)
    const { rss, heapUsed, external, kernel } = await readMemory(server, 'now')
    // Bytes in the kernel's buffers are not yet in the server's memory, so both must be stable.
    steady = rss + kernel > peak.sum * STEADY_RATIO ? 0 : steady + 1
    peak.rss = Math.max(peak.rss, rss)
    peak.heap = Math.max(peak.heap, heapUsed + external)
    peak.kernel = Math.max(peak.kernel, kernel)
    peak.sum = Math.max(peak.sum, rss + kernel)
  }
  const after = await readMemory(server, 'collected')
  const heapBefore = before.heapUsed + before.external
  const growth = peak.rss - before.rss
  const labels = { bench: 'attack', protocol, sleepers: nonReaders, readers: READERS, pinned }
  const each = {
    peakRssBytes: roundFigure(growth / nonReaders),
    peakHeapBytes: roundFigure((peak.heap - heapBefore) / nonReaders),
    heldHeapBytes: roundFigure((after.heapUsed + after.external - heapBefore) / nonReaders),
    kernelBytes: roundFigure((peak.kernel - before.kernel) / nonReaders),
    boundBytes: BOUNDS[protocol],
  }
  const course = {
    seconds: roundFigure((readings * sampleMs) / 1_000),
    steady: steady >= STEADY_READINGS,
    standing: after.connections - READERS,
  }
  printRatio(profile, { ...labels, figure: 'unread', ...each, ...course }, growth / (nonReaders * BOUNDS[protocol]), {
    kind: 'max',
    value: 1,
  })
  const readers = {
    bytesPerEvent: STORM_BYTES,
    newsPerSecond: roundFigure(news / readings),
    leastNewsPerSecond: roundFigure(leastNews),
    newsPerSecondWithout: roundFigure(alone['news']!),
    weatherPerSecond: roundFigure(received['weather']!),
    gaps: received['gaps']!,
    thrownOut: received['thrownOut']!,
  }
  printRatio(profile, { ...labels, figure: 'readers', ...readers }, news / readings / STORM_HZ, {
    kind: 'min',
    value: MIN_RECEIVED_RATIO,
  })
}
