// Rows of docs/hostile.md: logins.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.tickets)
