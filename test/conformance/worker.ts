// The Worker that tests and drills run in workerd: edge and core in one script, with an object that can be reset on
// demand. Never deployed. Invariant: only `abort` and `commits` differ from what a studio deploys.

import { shardObject } from '../../core/durable/object.ts'
import { game } from './fixtures/reset.ts'

export { default } from '../../edge/worker.ts'

/** Adds what a test needs to the class of a game. */
export class Shard extends shardObject(game) {
  /** The platform's reset: memory is gone, every socket of the object breaks. */
  async abort(): Promise<void> {
    this.ctx.abort('the test resets this object')
  }
}
