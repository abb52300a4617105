// The game on Cloudflare: the players' door, and the class of the Durable Objects that hold the shards.

import { shardObject } from 'firefly-game/worker'

import game from './server.ts'

export { default } from 'firefly-game/worker'
export class Shard extends shardObject(game) {}
