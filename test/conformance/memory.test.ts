// The suite on the memory host: a new host with its own clock for each case.

import { game } from './game.ts'
import { memoryHost } from './memoryhost.ts'
import { registerConformance } from './suite.ts'

registerConformance('memory', () => Promise.resolve(memoryHost(game)), {
  newHostPerCase: true,
  missingFeatures: ['kill'],
})
