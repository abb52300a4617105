// The market on Cloudflare: the edge and the objects of the game. A studio's own entry looks just like this.

import { shardObject } from '../../core/durable/object.ts'
import game from './server.ts'

export { default } from '../../edge/worker/worker.ts'
export class Shard extends shardObject(game) {}
