// What a cached row takes of the heap, against what RowCache believes. In a process of its own, where nothing else
// allocates and garbage can be collected at will.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { print, round } from '../figure.ts'
import type { Lab } from './lab.ts'
import type { Weighed } from './heap.ts'

const PROGRAM = fileURLToPath(new URL('heap.ts', import.meta.url))
const TIMEOUT_MS = 120_000

export async function memory(lab: Lab): Promise<void> {
  const rows = lab.profile.quick ? 20_000 : 100_000
  const args = ['--expose-gc', PROGRAM, lab.folder('heap'), String(rows)]
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: TIMEOUT_MS })
  for (const { how, heapBytes, believedBytes, weightBytes } of JSON.parse(stdout) as readonly Weighed[]) {
    print({
      bench: 'state',
      figure: 'memory',
      how,
      rows,
      heapBytesPerRow: round(heapBytes / rows),
      believedBytesPerRow: round(believedBytes / rows),
      // What OVERHEAD_BYTES of core/run/rowcache.ts would have to be.
      overheadBytes: round((heapBytes - weightBytes) / rows),
      heapOverBelieved: round(heapBytes / believedBytes),
    })
  }
}
