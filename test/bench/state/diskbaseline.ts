// What the disk itself can do: 4 KiB appended and synced, one after the other. Its rate moves by ten times and more
// within minutes, so each figure that waits for the disk stands beside a floor of the same moment and folder.

import { closeSync, fdatasync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import { median, printFigure, roundFigure } from '../../support/figure.ts'

export interface DiskBaseline {
  readonly perSecond: number
  readonly p50Ms: number
}

const BLOCK_BYTES = 4_096

export async function measureFdatasync(dir: string, ms: number): Promise<DiskBaseline> {
  const path = join(dir, 'floor')
  const fd = openSync(path, 'w')
  const block = new Uint8Array(BLOCK_BYTES)
  const waits: number[] = []
  const startMs = performance.now()
  try {
    while (performance.now() - startMs < ms || waits.length === 0) {
      const beforeMs = performance.now()
      writeSync(fd, block)
      await new Promise<void>((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())))
      waits.push(performance.now() - beforeMs)
    }
    return { perSecond: (waits.length / (performance.now() - startMs)) * 1_000, p50Ms: median(waits) }
  } finally {
    closeSync(fd)
    rmSync(path)
  }
}

export async function printDiskBaseline(when: 'before' | 'after', dir: string, ms: number): Promise<void> {
  const { perSecond, p50Ms } = await measureFdatasync(dir, ms)
  printFigure({
    bench: 'state',
    figure: 'fdatasync',
    when,
    perSecond: roundFigure(perSecond),
    p50Ms: roundFigure(p50Ms),
  })
}
