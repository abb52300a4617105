// Rows of docs/hostile.md: WebSockets and how one asks for them.

import { prove } from './hostile/stage.ts'
import { SUITES } from './hostile/suites.ts'

prove(SUITES.websocket)
