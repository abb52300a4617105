// Clients with the usual limit of 64 KiB per message, for whom far more waits at once.

import { WebSocket } from 'ws'

import { msgpack } from '../../../../core/wire/codec.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../../../core/wire/frame.ts'
import { until } from '../../../support/wait.ts'
import type { Accident } from '../accident.ts'
import { Trouble } from '../game.ts'

const CLIENTS = { quick: 4, full: 20 } as const
const EVENTS = 280
const EVENT_CHARS = 1_000
const MAX_MESSAGE_BYTES = 65_535
const DEADLINE_MS = 30_000

const { joins, burst, text } = Trouble.entries
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

interface LimitedClient {
  readonly socket: WebSocket
  events: number
  joined: boolean
  closeCode: number
}

/** Joins the shard; closes with 1009 after a larger message, as Netty and others do. */
async function openLimitedClient(url: string): Promise<LimitedClient> {
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: MAX_MESSAGE_BYTES })
  const client: LimitedClient = { socket, events: 0, joined: false, closeCode: 0 }
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_MESSAGE_BYTES, (command) => {
    if (command === text.number) client.events++
    if (command === joins.number) client.joined = true
  })
  socket.on('message', (data: Buffer) => decoder.push(data))
  socket.on('error', () => {})
  socket.on('close', (code) => (client.closeCode = code))
  await new Promise((resolve) => socket.once('open', resolve))
  socket.send(encodeFrame(identity, joins.number, msgpack.encode({})))
  await until(() => client.joined, DEADLINE_MS)
  return client
}

export const accident: Accident = {
  what: '280 KB of events wait at once for clients that accept messages of 65,535 bytes',
  async run(drill) {
    const target = await drill.startNode()
    const count = CLIENTS[drill.isQuick ? 'quick' : 'full']
    const clients = await Promise.all(Array.from({ length: count }, () => openLimitedClient(target.webSocketUrl)))
    await drill.play(target, async () => {
      const [first] = clients
      first!.socket.send(encodeFrame(identity, burst.number, msgpack.encode({ events: EVENTS, chars: EVENT_CHARS })))
      if (!(await until(() => clients.every(({ events }) => events === EVENTS), DEADLINE_MS)))
        drill.fault(`events: ${clients.map(({ events, closeCode }) => `${events}/${closeCode}`).join()}`)
      for (const { socket } of clients) socket.close()
    })
    return { clients: count, events: count * EVENTS }
  },
}
