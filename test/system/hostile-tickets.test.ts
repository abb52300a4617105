// Rows of docs/hostile.md: logins.

import { registerAttacks } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.tickets)
