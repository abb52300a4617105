// A client that never reads, at the edge Worker in raw workerd: its unread bytes are bounded, it is closed, and another client
// is still answered.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect as dial, type Socket } from 'node:net'
import test, { after } from 'node:test'
import { connect } from '../../client/index.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../core/wire/frame.ts'
import { Drill } from '../conformance/fixtures/resetgame.ts'
import { temporaryFolder } from '../support/program.ts'
import { serveWorkerd, type RawWorkerd } from '../support/workerd.ts'

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
/** Number of the command `pad`: 17 + 15 bytes that are answered with 60 KB. */
const PAD = 307
const CALLS_PER_ROUND = 16
/** Their answers are far more than the kernel buffers at both ends; their bytes are fewer than the server buffers of a paused client. */
const CALL_ROUNDS = 200
/** Longer than `stallMs`. */
const MAX_ROUNDS = 4_000

let running: RawWorkerd | null = null
after(() => running?.child.kill('SIGKILL'))

test('closes a client that never reads while another client is answered', async () => {
  running = await serveWorkerd(
    new URL('../conformance/fixtures/resetworker.ts', import.meta.url).pathname,
    temporaryFolder(),
  )
  const { port, lines } = running
  const good = await connect(`ws://127.0.0.1:${port}/ws`)
  const room = good.at(Drill)
  assert.equal((await room.echo({ text: 'before' })).text, 'before')

  const slow = await openUnreadWebSocket(port)
  const closed = (): string | undefined => lines.find((line) => line.includes('SLOW_CONSUMER'))
  const call = messageFrame(encodeFrame(identity, PAD, Buffer.from(JSON.stringify({ bytes: 60_000 }))))
  const calls = Buffer.concat(Array.from({ length: CALLS_PER_ROUND }, () => call))
  let rounds = 0
  for (; rounds < MAX_ROUNDS && !closed(); rounds++) {
    if (rounds < CALL_ROUNDS) slow.write(calls)
    assert.equal((await room.echo({ text: `${rounds}` })).text, `${rounds}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const [, unread] = /none of (\d+) unread bytes was read/.exec(closed() ?? '') ?? []
  assert.ok(Number(unread) > 1_048_576, `no SLOW_CONSUMER after ${rounds} rounds: ${lines.slice(-5).join('\n')}`)
  // The bound at which the server does not wait for `stallMs` (decision 020).
  assert.ok(Number(unread) < 8 * 1_048_576, `${unread} bytes were buffered`)
  assert.equal((await room.echo({ text: 'after' })).text, 'after')

  // Once it reads, the buffered bytes are followed by the reason.
  const tail = await readToEnd(slow)
  const at = tail.lastIndexOf('SLOW_CONSUMER: ')
  assert.ok(at > 0, 'a Close frame ends the connection')
  assert.equal(tail.readUInt16BE(at - 2), 1013)
  assert.equal((await room.echo({ text: 'still' })).text, 'still')
  await good.close()
})

/** Opens a WebSocket without a library that reads the response to its upgrade and nothing more. */
async function openUnreadWebSocket(port: number): Promise<Socket> {
  const socket = dial({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  const key = randomBytes(16).toString('base64')
  const head = ['GET /ws HTTP/1.1', `Host: 127.0.0.1:${port}`, 'Upgrade: websocket', 'Connection: Upgrade']
  socket.write([...head, `Sec-WebSocket-Key: ${key}`, 'Sec-WebSocket-Version: 13', '', ''].join('\r\n'))
  const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
  socket.pause()
  assert.match(answer.toString('latin1'), /^HTTP\/1\.1 101 /)
  return socket
}

/** One masked binary message of less than 126 bytes; the mask is zero. */
function messageFrame(body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0x82, 0x80 | body.length, 0, 0, 0, 0]), body])
}

/** Reads on; returns the last bytes after a Close frame or the end of the stream. */
function readToEnd(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    let tail = Buffer.alloc(0)
    const end = (): void => {
      socket.destroy()
      resolve(tail)
    }
    socket.on('data', (bytes) => {
      tail = Buffer.concat([tail, bytes]).subarray(-256)
      if (tail.includes('SLOW_CONSUMER: ')) end()
    })
    socket.on('close', end)
    socket.resume()
  })
}
