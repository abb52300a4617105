// A child of `bench attack`: `node flooder.ts PORT KIND COMMAND` is one client at full speed. It writes frames as fast
// as TCP accepts them, discards what it reads, and reconnects at once when it is closed.

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { EMPTY_BYTES } from '../../../core/wire/bytes.ts'
import { encodeClose, encodeOpen, MESSAGE } from '../../../core/wire/message.ts'
import { serveRequests } from './responder.ts'
import { Room, type FloodKind } from './game.ts'
import { encodeDefaultFrame, HELLO } from '../../support/rawclient.ts'

const BLOCK_BYTES = 65_536
/** Between two connection attempts. */
const RECONNECT_MS = 1

const [port, kind, command] = process.argv.slice(2)

/** The first bytes of a connection, and the frames that fill a block, which is sent repeatedly. */
const PAYLOADS: Readonly<
  Record<FloodKind, { readonly first: Uint8Array; readonly frames: (n: number) => Uint8Array[] }>
> = {
  legacy: {
    first: EMPTY_BYTES,
    frames: () => [encodeDefaultFrame(Number(command), new Uint8Array(16))],
  },
  ping: { first: HELLO, frames: () => [encodeDefaultFrame(MESSAGE.PING, new Uint8Array(8))] },
  // A new key each time, so that each OPEN activates another shard.
  channel: {
    first: HELLO,
    frames: (n) => [
      encodeDefaultFrame(
        MESSAGE.OPEN,
        encodeOpen({ channel: 1, activation: 0, eventAck: 0, contract: Room.name, key: `flood-${n}` }),
      ),
      encodeDefaultFrame(MESSAGE.CLOSE, encodeClose({ channel: 1, code: 'CLOSED' })),
    ],
  },
}

const { first, frames } = PAYLOADS[kind as FloodKind]
const block = createBlock()
const readBuffer = Buffer.alloc(BLOCK_BYTES)
let isFlooding = false
let connections = 0

function createBlock(): Buffer {
  const parts: Uint8Array[] = []
  let bytes = 0
  for (let n = 0; bytes < BLOCK_BYTES; n++) {
    for (const part of frames(n)) {
      parts.push(part)
      bytes += part.length
    }
  }
  return Buffer.concat(parts)
}

async function flood(): Promise<void> {
  await runConnection()
  await sleep(RECONNECT_MS)
  if (isFlooding) await flood()
}

/** Resolves when the connection is closed. */
function runConnection(): Promise<void> {
  const closed = Promise.withResolvers<void>()
  const onread = { buffer: readBuffer, callback: () => true }
  const socket = connect({ host: '127.0.0.1', port: Number(port), noDelay: true, onread })
  const write = (): void => {
    if (!isFlooding) return void socket.destroy()
    // The next block follows when the kernel has accepted this one.
    socket.write(block, (error) => {
      if (error) return
      write()
    })
  }
  socket.once('connect', () => {
    connections++
    if (first.length > 0) socket.write(first)
    write()
  })
  socket.on('error', () => socket.destroy())
  socket.once('close', () => closed.resolve())
  closeCurrent = () => socket.destroy()
  return closed.promise
}
let closeCurrent = (): void => {}

serveRequests({
  start() {
    isFlooding = true
    void flood()
    return {}
  },
  stop() {
    isFlooding = false
    closeCurrent()
    return {}
  },
  /** Connections since the start. */
  count: () => ({ connections }),
})
