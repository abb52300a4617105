// The public entry 'firefly-game/testing', for tests of games: the engine on in-memory ports, with a clock that the
// test advances.

export { Engine, type EngineOptions, type Ports } from '../engine/engine.ts'
export { ManualClock, MemoryLog, MemoryStore } from './memory.ts'
export type { Clock } from '../ports/clock.ts'
export type { Log } from '../ports/log.ts'
export type { Store } from '../ports/store.ts'
