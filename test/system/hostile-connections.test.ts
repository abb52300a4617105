// Rows of docs/hostile.md: floods of connections.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.connections)
