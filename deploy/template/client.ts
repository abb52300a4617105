// A client in Node: `npm run client`, while `npm start` runs. `npm run client -- ws://HOST/ws` calls another server.

import { connect } from 'firefly-game/client'

import { Hello } from './contract.ts'

await using game = await connect(process.argv[2] ?? 'ws://127.0.0.1:8080/ws')
console.log((await game.at(Hello).greet({ name: 'Ada' })).text)
