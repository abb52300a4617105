// 500 clients that never read, in a storm of events: what they make the server keep, against what each of them may; and
// whether those who read miss anything beside them. What the kernel keeps is not the server's to bound, and is apart.

import { DEFAULT_LIMITS } from '../../../core/wire/limits.ts'
import { printRatio, type Profile } from '../figure.ts'
import { progress, roundFigure } from '../../support/figure.ts'
import { canPin } from '../server.ts'
import { startChild } from './child.ts'
import { STORM_BYTES, STORM_HZ } from './game.ts'
import type { Protocol } from '../../support/rawclient.ts'
import { LOAD_CORE, readMemory, SERVER_CORE, startTargetServer } from './target.ts'

const READERS = 20
/** Unread bytes of the connection, and unacknowledged ones of its one channel; a legacy client has no second kind. */
const BOUNDS: Readonly<Record<Protocol, number>> = {
  v2: DEFAULT_LIMITS.maxUnreadBytes + DEFAULT_LIMITS.maxUnackedEventBytes,
  legacy: DEFAULT_LIMITS.maxOutboundBytes,
}
/** Readers that hear less than this part of what is said: the server does not keep up. */
const MIN_RECEIVED_RATIO = 0.98
/** So many readings in a row that are not above what was the highest before. */
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
  await using audience = await startChild(new URL('subscribers.ts', import.meta.url), {
    core: pinned ? LOAD_CORE : null,
    args: [protocol, port],
  })
  await audience.request('readers', READERS)
  const alone = await audience.request('sample', sampleMs)
  const before = await readMemory(server, 'collected')
  progress(`attack: ${nonReaders} ${protocol} clients that never read …`)
  await audience.request('sleepers', nonReaders)
  const peak = { rss: 0, heap: 0, kernel: 0, sum: 0 }
  let [readings, steady, news, leastNews] = [0, 0, 0, Infinity]
  let received = alone
  for (; readings < maxReadings && steady < STEADY_READINGS; readings++) {
    received = await audience.request('sample', sampleMs)
    news += received['news']!
    leastNews = Math.min(leastNews, received['news']!)
    const { rss, heapUsed, external, kernel } = await readMemory(server, 'now')
    // What the kernel takes does not come to the server yet, so both must stand still.
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
