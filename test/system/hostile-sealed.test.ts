// Rows of docs/hostile.md: encrypted bodies.

import { registerSuite } from './hostile/suites.ts'

registerSuite('sealed')
