// Rows of docs/hostile.md: bodies that the game encrypts itself.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.sealed)
