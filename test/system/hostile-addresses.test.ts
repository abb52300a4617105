// Rows of docs/hostile.md: floods of connections from one address.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.addresses)
