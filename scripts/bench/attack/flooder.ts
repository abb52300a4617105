// A child of `bench attack`: `node flooder.ts PORT KIND COMMAND` is one client at full speed: it writes frames for as
// long as TCP takes them, reads whatever comes, and when it is closed it comes again at once.

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { encodeClose, encodeOpen, MESSAGE } from '../../../core/wire/message.ts'
import { answer } from './answer.ts'
import { Room } from './game.ts'
import type { Kind } from './kinds.ts'
import { frame, HELLO } from './line.ts'

const BLOCK_BYTES = 65_536
/** Between two attempts when the door is shut. */
const AGAIN_MS = 1

const [port, kind, command] = process.argv.slice(2)

/** What it says, over and over: frames of one block, as many as fit. */
const SAYS: Readonly<
  Record<Kind, { readonly first: Uint8Array; readonly frames: (n: number) => Uint8Array[] }>
> = {
  legacy: { first: new Uint8Array(0), frames: () => [frame(Number(command), new Uint8Array(16))] },
  ping: { first: HELLO, frames: () => [frame(MESSAGE.PING, new Uint8Array(8))] },
  // A key of its own each time: every one wakes another shard.
  channel: {
    first: HELLO,
    frames: (n) => [
      frame(
        MESSAGE.OPEN,
        encodeOpen({ channel: 1, activation: 0, eventAck: 0, contract: Room.name, key: `flood-${n}` }),
      ),
      frame(MESSAGE.CLOSE, encodeClose({ channel: 1, code: 'CLOSED' })),
    ],
  },
}

const { first, frames } = SAYS[kind as Kind]
const block = blockOf()
const readBuffer = Buffer.alloc(BLOCK_BYTES)
let flooding = false
let connections = 0

function blockOf(): Buffer {
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
  await oneConnection()
  await sleep(AGAIN_MS)
  if (flooding) await flood()
}

/** Resolves when it is over. */
function oneConnection(): Promise<void> {
  const over = Promise.withResolvers<void>()
  const onread = {
    buffer: readBuffer,
    callback: () => true,
  }
  const socket = connect({ host: '127.0.0.1', port: Number(port), noDelay: true, onread })
  const write = (): void => {
    if (!flooding) return void socket.destroy()
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
  socket.once('close', () => over.resolve())
  stop = () => socket.destroy()
  return over.promise
}
let stop = (): void => {}

answer({
  start() {
    flooding = true
    void flood()
    return {}
  },
  stop() {
    flooding = false
    stop()
    return {}
  },
  /** How often it came, since the start. */
  count: () => ({ connections }),
})
