// The game on Cloudflare: the edge Worker, which terminates the players' connections, and the class of the Durable
// Objects that run the shards.

import { shardObject } from 'firefly-game/worker'

import game from './server.ts'

export { default } from 'firefly-game/worker'
export class Shard extends shardObject(game) {}
