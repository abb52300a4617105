// The smallest game: one shard, one command.

import { firefly, shard } from 'firefly-game'
import { Hello } from './contract.ts'

const hello = shard(Hello)
  .public()
  .on('greet', (_c, { name }) => ({ text: `Hello, ${name}!` }))

export default firefly({ hello })
