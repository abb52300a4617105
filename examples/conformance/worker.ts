// The conformance game on Cloudflare: the edge and the Durable Objects of the game.

import { shardObject } from 'firefly-game/worker'
import game from './server.ts'

export { default } from 'firefly-game/worker'
export class Shard extends shardObject(game) {}
