// Rows of docs/hostile.md: floods.

import { registerSuite } from './hostile/suites.ts'

registerSuite('floods')
