// Rows of docs/hostile.md: seats of connections that are gone.

import { registerAttacks } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.ghosts)
