// Echoes for legacy clients and load tools; `shout` is sent to every connection that has called a command of the shard.

import { firefly, shard } from 'firefly-game'
import { Echo } from './contract.ts'

const echo = shard(Echo)
  .public()
  .on('raw', (c, body) => {
    c.join()
    return body
  })
  .on('json', (c, body) => {
    c.join()
    return body
  })
  .on('msgpack', (c, body) => {
    c.join()
    return body
  })
  .on('silent', (c) => {
    c.join()
  })
  .on('shout', (c, body) => {
    c.join()
    c.broadcast.heard(body)
  })

export default firefly({ echo })
