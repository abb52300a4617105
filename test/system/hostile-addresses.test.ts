// Rows of docs/hostile.md: floods of connections from one address.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.addresses)
