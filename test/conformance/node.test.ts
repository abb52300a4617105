// The suite against the Node host: one server process for all cases, killed and restarted by some of them.

import { nodeHost } from './nodehost.ts'
import { registerConformance } from './suite.ts'

registerConformance('node', nodeHost, { missingFeatures: [] })
