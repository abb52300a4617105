// Rows of docs/hostile.md: peers that are slow or silent.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.deadlines)
