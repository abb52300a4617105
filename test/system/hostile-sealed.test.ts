// Rows of docs/hostile.md: bodies that the game encrypts itself.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.sealed)
