// Rows of docs/hostile.md: bodies.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.bodies)
