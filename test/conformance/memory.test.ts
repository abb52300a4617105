// The suite against memory: a new host, with a clock of its own, for every case.

import { game } from './game.ts'
import { memoryHost } from './memory.ts'
import { conform } from './suite.ts'

conform('memory', () => Promise.resolve(memoryHost(game)), { fresh: true, lacks: ['kill'] })
