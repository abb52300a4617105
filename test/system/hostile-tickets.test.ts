// Rows of docs/hostile.md: logins.

import { registerSuite } from './hostile/suites.ts'

registerSuite('tickets')
