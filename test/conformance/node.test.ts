// The suite on the Node host: one server process for all cases; some kill and restart it.

import { nodeHost } from './nodehost.ts'
import { registerConformance } from './suite.ts'

registerConformance('node', nodeHost, { missingFeatures: [] })
