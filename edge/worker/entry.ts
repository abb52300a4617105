// The package export 'firefly-game/worker': the edge as default export, and the function that makes a game the class of a
// Durable Object. An edge that is deployed alone imports 'firefly-game/edge', which contains no engine.

export { default, edge, type EdgeEnv, type EdgeOptions } from './worker.ts'
export type { Cipher, CipherFactory } from '../../core/wire/cipher.ts'
export { shardObject, type ShardEnv, type ShardObjectOptions } from '../../core/durable/object.ts'
/** Thrown by `invalidate`. */
export { DatabaseError } from '../../core/sql/client.ts'
