// Rows of docs/hostile.md: all connections.

import { registerSuite } from './hostile/suites.ts'

registerSuite('connections')
