// Rows of docs/hostile.md: bodies.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.bodies)
