// The suite against Durable Objects: one workerd for all cases.

import { durableHost } from './durable.ts'
import { conform } from './suite.ts'

conform('durable', durableHost, { lacks: ['stream', 'kill'] })
