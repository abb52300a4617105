// Rows of docs/hostile.md: connections without a login.

import { registerSuite } from './hostile/suites.ts'

registerSuite('unauthenticated')
