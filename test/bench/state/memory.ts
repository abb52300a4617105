// What a cached row takes of the heap, against what RowCache believes. In a process of its own, where nothing else
// allocates and garbage can be collected at will.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { printFigure, roundFigure } from '../../support/figure.ts'
import type { BenchEnvironment } from './environment.ts'
import type { HeapMeasurement } from './heap.ts'

const PROGRAM = fileURLToPath(new URL('heap.ts', import.meta.url))
const TIMEOUT_MS = 120_000

export async function measureMemory(lab: BenchEnvironment): Promise<void> {
  const rows = lab.profile.quick ? 20_000 : 100_000
  const args = ['--expose-gc', PROGRAM, lab.folderOf('heap'), String(rows)]
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: TIMEOUT_MS })
  for (const { origin: how, heapBytes, estimatedBytes: believedBytes, weightBytes } of JSON.parse(
    stdout,
  ) as readonly HeapMeasurement[]) {
    printFigure({
      bench: 'state',
      figure: 'memory',
      how,
      rows,
      heapBytesPerRow: roundFigure(heapBytes / rows),
      believedBytesPerRow: roundFigure(believedBytes / rows),
      // What OVERHEAD_BYTES of core/rows/rowcache.ts would have to be.
      overheadBytes: roundFigure((heapBytes - weightBytes) / rows),
      heapOverBelieved: roundFigure(heapBytes / believedBytes),
    })
  }
}
