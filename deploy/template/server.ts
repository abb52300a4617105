// The game: one public shard with one command. It uses no API of Cloudflare or Node and runs on both.

import { firefly, shard } from 'firefly-game'

import { Hello } from './contract.ts'

const hello = shard(Hello)
  .public()
  .on('greet', (_c, { name }) => ({ text: `Hello, ${name}!` }))

export default firefly({ hello })
