// The game: one public shard, one command. It knows neither Cloudflare nor Node and runs on both.

import { firefly, shard } from 'firefly-game'

import { Hello } from './contract.ts'

const hello = shard(Hello)
  .public()
  .on('greet', (_c, { name }) => ({ text: `Hello, ${name}!` }))

export default firefly({ hello })
