// Rows of docs/hostile.md: floods of connections that do not log in.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.strangers)
