// How the edge Worker closes a WebSocket whose peer violates a rule: with the reason where the Worker decides, with the code
// alone where workerd does. The SDK does not send the same bytes again in either case.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { closeText, finalCloseReason } from '../../client/closereason.ts'
import { MESSAGE } from '../../core/wire/message.ts'
import { waitUntil } from '../support/sockets.ts'
import { startWorkers, type Workers } from '../support/workers.ts'
import { frame, helloFrame, hex, IDENTITY } from './hostile/frames.ts'
import { clientMessage, OPCODE, upgradeRequest, WebSocketPeer } from './hostile/websocket.ts'

let workers: Workers
before(async () => {
  const { head, protoVersion, serverVersion } = IDENTITY
  workers = await startWorkers({
    entry: new URL('../conformance/fixtures/resetworker.ts', import.meta.url).pathname,
    vars: {
      FIREFLY_HEAD: head.join(),
      FIREFLY_PROTOCOL_VERSION: String(protoVersion),
      FIREFLY_SERVER_VERSION: String(serverVersion),
    },
  })
})
after(() => workers.close())

const ping = frame(MESSAGE.PING)
/** Small frames, each of them valid. */
const largeBatch = clientMessage(Buffer.concat(Array.from({ length: 8_000 }, () => ping)))

async function closeOf(
  ...messages: readonly Uint8Array[]
): Promise<{ web: WebSocketPeer; code: number; text: string }> {
  const web = await WebSocketPeer.connect(Number(new URL(workers.url).port), upgradeRequest())
  await web.send(clientMessage(helloFrame()), ...messages)
  await waitUntil(() => web.closeFrame !== null, 'a Close frame')
  const { code, reason } = web.closeFrame!
  web.peer.sendReset()
  return { web, code, text: closeText(code, reason) }
}

for (const [what, code, reason, message] of [
  ['a text message', 1003, 'TEXT_MESSAGE', clientMessage(hex('41'), { opcode: OPCODE.TEXT })],
  ['a text message that is not UTF-8', 1003, 'TEXT_MESSAGE', clientMessage(hex('ff'), { opcode: OPCODE.TEXT })],
  ['a message above the limit', 1009, 'FRAME_TOO_LARGE', largeBatch],
] as const)
  test(`the edge Worker answers ${what} by ERROR and a close with the reason`, async () => {
    const { web, ...close } = await closeOf(message)
    assert.equal(close.code, code)
    assert.match(close.text, new RegExp(`^${reason}: `))
    await waitUntil(() => web.peer.errors().length > 0, 'ERROR')
    assert.deepEqual(web.peer.errors(), [`0/0 ${reason}`])
  })

for (const [what, code, reason, message] of [
  ['a reserved opcode', 1002, 'BAD_MESSAGE', clientMessage(ping, { opcode: 3 })],
  ['a reserved bit', 1002, 'BAD_MESSAGE', clientMessage(ping, { rsv: 4 })],
  ['a continuation of nothing', 1002, 'BAD_MESSAGE', clientMessage(ping, { opcode: OPCODE.CONTINUATION })],
  ['a fragmented ping', 1002, 'BAD_MESSAGE', clientMessage(hex('00'), { opcode: OPCODE.PING, fin: false })],
  ['a length of 2^32', 1009, 'FRAME_TOO_LARGE', clientMessage(undefined, { length: 2n ** 32n, width: 8 })],
] as const)
  test(`workerd closes on ${what} with a code that is final for the SDK`, async () => {
    const close = await closeOf(message)
    assert.equal(close.code, code)
    assert.equal(finalCloseReason(close.text)?.code, reason)
  })

test('a close without a reason of the list is final only by a code that concerns the bytes sent', () => {
  assert.equal(finalCloseReason(closeText(1009, ''))?.code, 'FRAME_TOO_LARGE')
  assert.equal(finalCloseReason(closeText(1007, 'Invalid UTF-8'))?.code, 'TEXT_MESSAGE')
  assert.equal(finalCloseReason(closeText(1002, 'BAD_LENGTH: 3 is below 4'))?.code, 'BAD_LENGTH')
  for (const code of [1000, 1001, 1006, 1008, 1011, 1012, 1013, 4000])
    assert.equal(finalCloseReason(closeText(code, '')), null)
})
