// What a studio's tests import as 'firefly-game/testing': the engine on ports that live in memory, and a clock that
// only moves when it is told to.

export { Engine, type EngineOptions } from '../engine/engine.ts'
export { ManualClock, MemoryLog, MemoryStore } from './memory.ts'
export type { Clock } from '../ports/clock.ts'
export type { Log } from '../ports/log.ts'
export type { Ports } from '../engine/engine.ts'
export type { Store } from '../ports/store.ts'
