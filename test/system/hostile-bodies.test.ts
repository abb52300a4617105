// Rows of docs/hostile.md: bodies.

import { registerAttacks } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.bodies)
