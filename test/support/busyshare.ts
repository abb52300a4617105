// How busy a process is, with the time for which it waited for a processor: on a machine that others use too, processor
// time alone does not show that there is no more. Linux only.

import { readdirSync, readFileSync } from 'node:fs'

/** Nanoseconds for which each thread ran or was ready to run, by its id. */
function threadTimes(pid: number): ReadonlyMap<string, number> {
  try {
    const folder = `/proc/${pid}/task`
    return new Map(
      readdirSync(folder).map((thread) => {
        const [ran = 0, waited = 0] = readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ').map(Number)
        return [thread, ran + waited]
      }),
    )
  } catch {
    // No Linux, or a thread has just ended.
    return new Map()
  }
}

/** Starts a measurement; the returned function ends it with the busy share (0..1) of the busiest thread, 0 = unknown. */
export function measureBusyShare(pids: readonly number[]): () => number {
  const startMs = performance.now()
  const before = pids.map(threadTimes)
  return () => {
    const elapsedNs = (performance.now() - startMs) * 1e6
    const shares = pids.flatMap((pid, i) =>
      [...threadTimes(pid)].map(([thread, ns]) => (ns - (before[i]!.get(thread) ?? ns)) / elapsedNs),
    )
    return Math.round(100 * Math.max(0, ...shares)) / 100
  }
}
