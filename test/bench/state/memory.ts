// The heap use of a cached row, relative to the estimate of RowCache. Measured in a separate process, where nothing
// else allocates and garbage collections can be forced.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { printFigure, roundFigure } from '../../support/figure.ts'
import type { BenchEnvironment } from './environment.ts'
import type { HeapMeasurement } from './heap.ts'

const PROGRAM = fileURLToPath(new URL('heap.ts', import.meta.url))
const TIMEOUT_MS = 120_000

export async function measureMemory(environment: BenchEnvironment): Promise<void> {
  const rows = environment.profile.quick ? 20_000 : 100_000
  const args = ['--expose-gc', PROGRAM, environment.folderOf('heap'), String(rows)]
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: TIMEOUT_MS })
  const measurements = JSON.parse(stdout) as readonly HeapMeasurement[]
  for (const { origin, heapBytes, estimatedBytes, weightBytes } of measurements) {
    printFigure({
      bench: 'state',
      figure: 'memory',
      how: origin,
      rows,
      heapBytesPerRow: roundFigure(heapBytes / rows),
      believedBytesPerRow: roundFigure(estimatedBytes / rows),
      // What OVERHEAD_BYTES of core/rows/rowcache.ts would have to be.
      overheadBytes: roundFigure((heapBytes - weightBytes) / rows),
      heapOverBelieved: roundFigure(heapBytes / estimatedBytes),
    })
  }
}
