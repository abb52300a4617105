// Rows of docs/hostile.md: seats of connections that are gone.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.ghosts)
