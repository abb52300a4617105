// Clients that stop reading: for a moment, while large answers are on their way, and for ever.

import { msgpack } from '../../../../core/wire/codec.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../../../core/wire/frame.ts'
import { webSocketClient, type LegacyClient } from '../../../support/sockets.ts'
import { until } from '../../../support/wait.ts'
import type { Accident } from '../accident.ts'
import { Trouble } from '../game.ts'

/** What those that read late have unread fits the bound of all connections of an isolate. */
const CLIENTS = 2
const LARGE_CHARS = 3_000_000
const LARGE_ANSWERS = 2
/** Together more than the kernel buffers for a loopback connection, and fewer than may be pending. */
const ANSWERS = 250
const ANSWER_CHARS = 60_000
/** Shorter than the server waits for a reader, and longer. */
const PAUSE_MS = 1_000
const STOP_MS = 8_000
const DEADLINE_MS = 60_000
const SLOW_CONSUMER = 1_013

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
function requestUnread(client: LegacyClient, count: number, chars: number): void {
  const call = encodeFrame(identity, Trouble.entries.large.number, msgpack.encode({ chars }))
  client.setReading(false)
  for (let i = 0; i < count; i++) client.send(call)
}

export const accident: Accident = {
  what: 'clients read 3 MB answers late or never; who reads is served, who has stopped is closed',
  async run(drill) {
    const target = await drill.startWorkerd()
    const open = (): Promise<LegacyClient[]> =>
      Promise.all(Array.from({ length: CLIENTS }, () => webSocketClient(target.webSocketUrl)))
    const [late, stopped] = [await open(), await open()]
    await drill.play(target, async () => {
      for (const client of late) requestUnread(client, LARGE_ANSWERS, LARGE_CHARS)
      for (const client of stopped) requestUnread(client, ANSWERS, ANSWER_CHARS)
      await until(() => false, PAUSE_MS)
      for (const client of late) client.setReading(true)
      if (!(await until(() => late.every(({ frames }) => frames.length === LARGE_ANSWERS), DEADLINE_MS)))
        drill.fault(
          `large answers are missing: ${late.map(({ frames, closeCode }) => `${frames.length}/${closeCode}`).join()}`,
        )
      const isClosed = (client: LegacyClient): boolean => client.closeCode === SLOW_CONSUMER
      // A client learns that it was closed when it reads.
      await until(() => false, STOP_MS)
      for (const client of stopped) client.setReading(true)
      if (!(await until(() => stopped.every(isClosed), DEADLINE_MS)))
        drill.fault(`not closed as slow: ${stopped.map(({ closeCode }) => String(closeCode)).join()}`)
      for (const client of late) client.close()
    })
    return { served: late.length, closed: stopped.length }
  },
}
