// Rows of docs/hostile.md: session messages, legacy commands, and peers that do not read.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.messages)
