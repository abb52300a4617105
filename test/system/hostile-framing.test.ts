// Rows of docs/hostile.md: frames.

import { registerSuite } from './hostile/suites.ts'

registerSuite('framing')
