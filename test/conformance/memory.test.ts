// The suite against memory: a new host, with a clock of its own, for every case.

import { game } from './game.ts'
import { memoryHost } from './memoryhost.ts'
import { registerConformance } from './suite.ts'

registerConformance('memory', () => Promise.resolve(memoryHost(game)), {
  newHostPerCase: true,
  missingFeatures: ['kill'],
})
