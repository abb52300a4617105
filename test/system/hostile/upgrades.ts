// Attacks with the HTTP request that opens a WebSocket.

import assert from 'node:assert/strict'
import { refusalCounter, type Attack } from './attack.ts'
import { frame } from './frames.ts'
import type { AttackHarness } from './harness.ts'
import { clientMessage, upgradeRequest } from './websocket.ts'

/** The server responds with this status and closes. */
async function assertRejected(
  harness: AttackHarness,
  request: string,
  status: number,
  ...after: readonly Buffer[]
): Promise<void> {
  const web = await harness.dialWebSocket(request, ...after)
  assert.equal(web.status, status, web.responseHead)
  await web.peer.waitForClose()
  assert.equal(web.peer.frames.length, 0)
}

const badUpgradeAttack = (name: string, status: number, reason: string, ...requests: readonly string[]): Attack => ({
  name,
  receives: `HTTP ${status}`,
  counters: refusalCounter(reason, requests.length),
  run: async (harness) => {
    for (const request of requests) await assertRejected(harness, request, status, earlyMessage)
  },
})
const earlyMessage = clientMessage(frame(1, 'too early'))

export const upgrades: readonly Attack[] = [
  badUpgradeAttack(
    'rejects an upgrade with a wrong Sec-WebSocket-Version',
    400,
    'upgrade',
    upgradeRequest({ 'Sec-WebSocket-Version': '7' }),
    upgradeRequest({ 'Sec-WebSocket-Version': '14' }),
    upgradeRequest({ 'Sec-WebSocket-Version': 'x' }),
    upgradeRequest({ 'Sec-WebSocket-Version': null }),
  ),
  badUpgradeAttack(
    'rejects an upgrade without a valid key',
    400,
    'upgrade',
    upgradeRequest({ 'Sec-WebSocket-Key': null }),
    upgradeRequest({ 'Sec-WebSocket-Key': '' }),
    upgradeRequest({ 'Sec-WebSocket-Key': 'short' }),
    upgradeRequest({ 'Sec-WebSocket-Key': '!'.repeat(24) }),
  ),
  badUpgradeAttack(
    'rejects an upgrade with a repeated header',
    400,
    'upgrade',
    upgradeRequest({ 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] }),
    upgradeRequest({ 'Sec-WebSocket-Version': ['13', '13'] }),
  ),
  {
    name: 'rejects an upgrade to another protocol',
    receives: 'HTTP 426',
    counters: refusalCounter('upgrade', 4),
    run: async (harness) => {
      const protocols = ['h2c', 'websocket, h2c', ['h2c', 'websocket'], null]
      for (const Upgrade of protocols) await assertRejected(harness, upgradeRequest({ Upgrade }), 426)
    },
  },
  badUpgradeAttack('rejects an upgrade by another method', 405, 'upgrade', upgradeRequest({}, 'POST /ws HTTP/1.1')),
  badUpgradeAttack(
    'rejects an upgrade of another path',
    404,
    'upgrade',
    upgradeRequest({}, 'GET / HTTP/1.1'),
    upgradeRequest({}, 'GET /ws/../metrics HTTP/1.1'),
    upgradeRequest({}, 'GET //ws HTTP/1.1'),
  ),
  badUpgradeAttack(
    'rejects an upgrade with two Host headers',
    400,
    'upgrade',
    upgradeRequest({ Host: ['localhost', 'other'] }),
  ),
  badUpgradeAttack(
    'rejects a request with two Host headers',
    400,
    'request',
    upgradeRequest({ Host: ['localhost', 'other'], Upgrade: null }, 'GET /metrics HTTP/1.1'),
  ),
  badUpgradeAttack(
    'rejects headers of more than 16 KiB',
    431,
    'request',
    upgradeRequest({ Cookie: 'x'.repeat(20_000) }),
  ),
  badUpgradeAttack(
    'rejects a request that is not valid HTTP',
    400,
    'request',
    'GET /ws\r\n\r\n',
    '\u0000\u0001\u0002\u0003\r\n\r\n',
    upgradeRequest({ 'Content-Length': ['1', '2'] }),
    upgradeRequest({ 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }),
  ),
]
