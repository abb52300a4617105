// The conformance game on Cloudflare: the edge and the Durable Objects of the game.

import { shardObject } from '../../core/durable/object.ts'
import game from './server.ts'

export { default } from '../../edge/worker/worker.ts'
export class Shard extends shardObject(game) {}
