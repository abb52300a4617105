// The echo example on Cloudflare: the edge and the Durable Objects of the game. The entry of any game looks like this.

import { shardObject } from '../../core/durable/object.ts'
import game from './server.ts'

export { default } from '../../edge/worker/worker.ts'
export class Shard extends shardObject(game) {}
