// Rows of docs/hostile.md: sessions that come back.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.tokens)
