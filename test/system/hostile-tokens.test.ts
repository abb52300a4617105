// Rows of docs/hostile.md: sessions that come back.

import { registerAttacks } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.tokens)
