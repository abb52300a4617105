// Rows of docs/hostile.md: connections of one address.

import { registerSuite } from './hostile/suites.ts'

registerSuite('addresses')
