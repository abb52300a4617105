// Rows of docs/hostile.md: frames.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.framing)
