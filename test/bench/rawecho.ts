// The baseline of `bench path`: a minimal TCP echo in Node, without frames or sessions, one write per read. Do not
// extend it: every ratio is relative to it.

import { createServer } from 'node:net'

const server = createServer((socket) => {
  socket.setNoDelay(true)
  socket.on('data', (data) => socket.write(data))
  socket.on('error', () => socket.destroy())
})

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the raw echo has no TCP address')
  console.log(`raw ready tcp=127.0.0.1:${address.port} pid=${process.pid}`)
})

process.once('SIGTERM', () => process.exit(0))
