// Rows of docs/hostile.md: floods of connections that do not log in.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.unauthenticated)
