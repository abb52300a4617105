// Rows of docs/hostile.md: floods of connections.

import { registerAttacks } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.crowds)
