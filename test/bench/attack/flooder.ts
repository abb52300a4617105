// A child of `bench attack`: `node flooder.ts PORT KIND COMMAND` is one client at full speed: it writes frames for as
// long as TCP takes them, reads whatever comes, and when it is closed it comes again at once.

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { encodeClose, encodeOpen, MESSAGE } from '../../../core/wire/message.ts'
import { serveRequests } from './responder.ts'
import { Room } from './game.ts'
import type { FloodKind } from './kinds.ts'
import { encodeDefaultFrame, HELLO } from '../../support/rawclient.ts'

const BLOCK_BYTES = 65_536
/** Between two attempts when the door is shut. */
const RECONNECT_MS = 1

const [port, kind, command] = process.argv.slice(2)

/** What it says, over and over: frames of one block, as many as fit. */
const PAYLOADS: Readonly<
  Record<FloodKind, { readonly first: Uint8Array; readonly frames: (n: number) => Uint8Array[] }>
> = {
  legacy: {
    first: new Uint8Array(0),
    frames: () => [encodeDefaultFrame(Number(command), new Uint8Array(16))],
  },
  ping: { first: HELLO, frames: () => [encodeDefaultFrame(MESSAGE.PING, new Uint8Array(8))] },
  // A key of its own each time: every one wakes another shard.
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

/** Resolves when it is over. */
function runConnection(): Promise<void> {
  const closed = Promise.withResolvers<void>()
  const onread = {
    buffer: readBuffer,
    callback: () => true,
  }
  const socket = connect({ host: '127.0.0.1', port: Number(port), noDelay: true, onread })
  const write = (): void => {
    if (!isFlooding) return void socket.destroy()
    // One block at a time: the next when the kernel has taken this one.
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
  /** How often it came, since the start. */
  count: () => ({ connections }),
})
