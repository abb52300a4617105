// Rows of docs/hostile.md: session messages, legacy commands and slow readers.

import { registerSuite } from './hostile/suites.ts'

registerSuite('messages')
