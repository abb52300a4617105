// Where benchmarks put their files: on a disk, whose syncs cost something.

import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

const TMPFS = 0x0102_1994

/** The system's folder for temporary files, unless that is in memory. */
export function diskFolder(): string {
  return statfsSync(tmpdir()).type === TMPFS ? process.cwd() : tmpdir()
}
