// Attacks on the way to a WebSocket: the HTTP request that asks for one.

import assert from 'node:assert/strict'
import { frame } from './frames.ts'
import { refusalCounter, type Attack, type AttackHarness } from './harness.ts'
import { clientMessage, upgradeRequest } from './websocket.ts'

/** Answered so, and the connection ends. */
async function assertRefused(
  stage: AttackHarness,
  request: string,
  status: number,
  ...behind: Buffer[]
): Promise<void> {
  const web = await stage.dialWebSocket(request, ...behind)
  assert.equal(web.status, status, web.responseHead)
  await web.peer.waitForClose()
  assert.equal(web.peer.frames.length, 0)
}

const badUpgradeAttack = (name: string, status: number, reason: string, ...requests: readonly string[]): Attack => ({
  name,
  verdict: `HTTP ${status}`,
  counters: refusalCounter(reason, requests.length),
  run: async (stage) => {
    for (const request of requests) await assertRefused(stage, request, status, earlyMessage)
  },
})
const earlyMessage = clientMessage(frame(1, 'too soon'))

export const upgrades: readonly Attack[] = [
  badUpgradeAttack(
    'an upgrade with a wrong Sec-WebSocket-Version is refused',
    400,
    'upgrade',
    upgradeRequest({ 'Sec-WebSocket-Version': '7' }),
    upgradeRequest({ 'Sec-WebSocket-Version': '14' }),
    upgradeRequest({ 'Sec-WebSocket-Version': 'x' }),
    upgradeRequest({ 'Sec-WebSocket-Version': null }),
  ),
  badUpgradeAttack(
    'an upgrade without a good key is refused',
    400,
    'upgrade',
    upgradeRequest({ 'Sec-WebSocket-Key': null }),
    upgradeRequest({ 'Sec-WebSocket-Key': '' }),
    upgradeRequest({ 'Sec-WebSocket-Key': 'short' }),
    upgradeRequest({ 'Sec-WebSocket-Key': '!'.repeat(24) }),
  ),
  badUpgradeAttack(
    'an upgrade that says a header twice is refused',
    400,
    'upgrade',
    upgradeRequest({ 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] }),
    upgradeRequest({ 'Sec-WebSocket-Version': ['13', '13'] }),
  ),
  {
    name: 'an upgrade to something else is refused',
    verdict: 'HTTP 426',
    counters: refusalCounter('upgrade', 4),
    run: async (stage) => {
      const others = ['h2c', 'websocket, h2c', ['h2c', 'websocket'], null]
      for (const other of others) await assertRefused(stage, upgradeRequest({ Upgrade: other }), 426)
    },
  },
  badUpgradeAttack('an upgrade by another method is refused', 405, 'upgrade', upgradeRequest({}, 'POST /ws HTTP/1.1')),
  badUpgradeAttack(
    'an upgrade of another path is refused',
    404,
    'upgrade',
    upgradeRequest({}, 'GET / HTTP/1.1'),
    upgradeRequest({}, 'GET /ws/../metrics HTTP/1.1'),
    upgradeRequest({}, 'GET //ws HTTP/1.1'),
  ),
  badUpgradeAttack(
    'an upgrade for two hosts is refused',
    400,
    'upgrade',
    upgradeRequest({ Host: ['localhost', 'elsewhere'] }),
  ),
  badUpgradeAttack(
    'a request for two hosts is refused',
    400,
    'request',
    upgradeRequest({ Host: ['localhost', 'elsewhere'], Upgrade: null }, 'GET /metrics HTTP/1.1'),
  ),
  badUpgradeAttack(
    'headers of more than 16 KiB are refused',
    431,
    'request',
    upgradeRequest({ Cookie: 'x'.repeat(20_000) }),
  ),
  badUpgradeAttack(
    'a request that is no HTTP is refused',
    400,
    'request',
    'GET /ws\r\n\r\n',
    '\u0000\u0001\u0002\u0003\r\n\r\n',
    upgradeRequest({ 'Content-Length': ['1', '2'] }),
    upgradeRequest({ 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }),
  ),
]
