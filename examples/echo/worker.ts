// The echo example on Cloudflare: the edge and the Durable Objects of the game. The entry of any game looks like this.

import { shardObject } from 'firefly-game/worker'
import game from './server.ts'

export { default } from 'firefly-game/worker'
export class Shard extends shardObject(game) {}
