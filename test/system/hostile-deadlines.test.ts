// Rows of docs/hostile.md: peers that are slow or silent.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.deadlines)
