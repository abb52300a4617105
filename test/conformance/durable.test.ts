// The suite on Durable Objects: one workerd for all cases.

import { durableHost } from './durablehost.ts'
import { registerConformance } from './suite.ts'

registerConformance('durable', durableHost, { missingFeatures: ['stream', 'kill', 'unread'] })
