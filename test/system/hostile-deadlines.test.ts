// Rows of docs/hostile.md: deadlines.

import { registerSuite } from './hostile/suites.ts'

registerSuite('deadlines')
