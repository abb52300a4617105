// Rows of docs/hostile.md: seats of connections that are gone.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.abandonedseats)
