// Rows of docs/hostile.md: sessions that come back.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.tokens)
