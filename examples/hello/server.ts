// The smallest game: one shard, one command.

import { firefly, shard } from '../../core/game/index.ts'
import { Hello } from './contract.ts'

const hello = shard(Hello)
  .public()
  .on('greet', (_c, { name }) => ({ text: `Hello, ${name}!` }))

export default firefly({ hello })
