// Rows of docs/hostile.md: session messages, legacy commands, and peers that do not read.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.messages)
