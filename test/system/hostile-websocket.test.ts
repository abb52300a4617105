// Rows of docs/hostile.md: WebSockets and how one asks for them.

import { registerAttacks } from './hostile/harness.ts'
import { SUITES } from './hostile/suites.ts'

registerAttacks(SUITES.websocket)
