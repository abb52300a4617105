// Rows of docs/hostile.md: resume.

import { registerSuite } from './hostile/suites.ts'

registerSuite('tokens')
