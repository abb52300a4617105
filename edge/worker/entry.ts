// What a studio's worker.ts imports as 'firefly-game/worker': the edge as default export, and what makes its game
// the class of a Durable Object. An edge that is deployed alone takes 'firefly-game/edge' and carries no engine.

export { default, edge, type EdgeEnv, type EdgeOptions } from './worker.ts'
export type { Cipher, CipherFactory } from '../../core/wire/cipher.ts'
export { shardObject, type ShardEnv, type ShardObjectOptions } from '../../core/durable/object.ts'
/** What `invalidate` may throw. */
export { DatabaseError } from '../../core/sql/client.ts'
