// Rows of docs/hostile.md: peers that say too much.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.floods)
