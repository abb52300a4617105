// CPU time of a server (user and system, all threads and child processes) in nanoseconds, from schedstat in /proc,
// because stat has ticks of 10 ms. Invariant: differences are taken thread by thread, so that a thread that ends in
// between cannot make them negative. The value of a running thread may be a scheduler tick (4 ms) old: measure windows
// of a second, or read while the server is idle.

import { readFileSync, readdirSync } from 'node:fs'

/** CPU nanoseconds by thread id. */
export type CpuReading = ReadonlyMap<string, number>

/** @throws Error when the process has ended or /proc has no schedstat (Linux only) */
export function readCpu(pid: number): CpuReading {
  const reading = new Map<string, number>()
  addProcess(String(pid), reading)
  if (reading.size === 0) throw new Error(`no CPU times of process ${pid} in /proc: it has ended, or this is not Linux`)
  return reading
}

/** Nanoseconds spent between two readings. */
export function spentNs(before: CpuReading, after: CpuReading): number {
  let spent = 0
  for (const [thread, ns] of after) spent += ns - (before.get(thread) ?? 0)
  return spent
}

function addProcess(pid: string, reading: Map<string, number>): void {
  for (const thread of orMissing(() => readdirSync(`/proc/${pid}/task`)) ?? []) {
    const folder = `/proc/${pid}/task/${thread}`
    const stat = orMissing(() => readFileSync(`${folder}/schedstat`, 'latin1'))
    if (stat === undefined) continue
    reading.set(thread, Number(stat.split(' ', 1)[0]))
    const children = orMissing(() => readFileSync(`${folder}/children`, 'latin1')) ?? ''
    for (const child of children.split(' ')) if (child.trim() !== '') addProcess(child.trim(), reading)
  }
}

/** Threads and processes may end between the listing and the reading. */
function orMissing<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}
