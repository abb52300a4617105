// Folders of benchmarks, on a disk, because syncs in memory cost nothing; and the baseline of that disk: 4 KiB blocks,
// each appended and synced before the next. The rate of a disk varies by a factor of ten within minutes, so every
// figure that waits for the disk is printed with a baseline of the same run and folder.

import { closeSync, fdatasync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { median, printFigure, roundFigure } from '../support/figure.ts'

const TMPFS = 0x0102_1994
const BLOCK_BYTES = 4_096

export interface DiskBaseline {
  readonly perSecond: number
  readonly p50Ms: number
}

export function createFolder(name: string): string {
  const parent = statfsSync(tmpdir()).type === TMPFS ? process.cwd() : tmpdir()
  return mkdtempSync(join(parent, `firefly-bench-${name}-`))
}

/** Creates a folder that is removed when the process exits. */
export function createTemporaryFolder(name: string): string {
  const dir = createFolder(name)
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  return dir
}

export async function measureFdatasync(dir: string, ms: number): Promise<DiskBaseline> {
  const path = join(dir, 'baseline')
  const fd = openSync(path, 'w')
  const block = new Uint8Array(BLOCK_BYTES)
  const latenciesMs: number[] = []
  const startMs = performance.now()
  try {
    while (performance.now() - startMs < ms || latenciesMs.length === 0) {
      const beforeMs = performance.now()
      writeSync(fd, block)
      await new Promise<void>((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())))
      latenciesMs.push(performance.now() - beforeMs)
    }
    const perSecond = (latenciesMs.length / (performance.now() - startMs)) * 1_000
    return { perSecond, p50Ms: median(latenciesMs) }
  } finally {
    closeSync(fd)
    rmSync(path)
  }
}

export async function printDiskBaseline(labels: object, dir: string, ms: number): Promise<void> {
  const { perSecond, p50Ms } = await measureFdatasync(dir, ms)
  printFigure({ ...labels, perSecond: roundFigure(perSecond), p50Ms: roundFigure(p50Ms) })
}
