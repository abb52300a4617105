// Rows of docs/hostile.md: WebSocket and HTTP.

import { registerSuite } from './hostile/suites.ts'

registerSuite('websocket')
