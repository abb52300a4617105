// The suite against the Node host: one server process for all cases, killed and restarted by some of them.

import { nodeHost } from './node.ts'
import { conform } from './suite.ts'

conform('node', nodeHost, { lacks: [] })
