// Rows of docs/hostile.md: peers that say too much.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.floods)
