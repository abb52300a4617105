// Rows of docs/hostile.md: bodies.

import { registerSuite } from './hostile/suites.ts'

registerSuite('bodies')
