// Rows of docs/hostile.md: seats of lost connections.

import { registerSuite } from './hostile/suites.ts'

registerSuite('abandonedseats')
