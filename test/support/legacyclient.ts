// Exchanges of a legacy client: game frames and their answers, over TCP or WebSocket.

import assert from 'node:assert/strict'

import { tcpClient, type LegacyClient } from './sockets.ts'
import { waitFor } from './wait.ts'

/** Sends the frames together; returns the next `count` answers. */
export async function exchangeFrames(
  client: LegacyClient,
  frames: readonly (readonly [command: number, body: Uint8Array])[],
  count = frames.length,
): Promise<[command: number, body: Buffer][]> {
  for (const [command, body] of frames) client.sendFrame(command, body)
  await waitFor(() => client.frames.length >= count || client.isClosed, `${count} answers`)
  assert.equal(client.frames.length, count, 'one answer for each')
  return client.frames.splice(0, count).map(({ command, body }) => [command, Buffer.from(body)])
}

/** One call over TCP; returns the body of the reply. */
export async function callLegacy(port: number, command: number, body: Uint8Array): Promise<Buffer> {
  const client = await tcpClient('127.0.0.1', port)
  try {
    client.sendFrame(command, body)
    return Buffer.from(await client.nextFrame(command))
  } finally {
    client.close()
  }
}
