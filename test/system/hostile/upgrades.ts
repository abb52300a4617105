// Attacks on the way to a WebSocket: the HTTP request that asks for one.

import assert from 'node:assert/strict'
import { frame } from './frames.ts'
import { refusals, type Attack, type Stage } from './stage.ts'
import { message, upgrade } from './websocket.ts'

/** Answered so, and the connection ends. */
async function refused(stage: Stage, request: string, status: number, ...behind: Buffer[]): Promise<void> {
  const web = await stage.web(request, ...behind)
  assert.equal(web.status, status, web.head)
  await web.peer.ends()
  assert.equal(web.peer.heard.length, 0)
}

const bad = (name: string, status: number, reason: string, ...requests: readonly string[]): Attack => ({
  name,
  verdict: `HTTP ${status}`,
  counters: refusals(reason, requests.length),
  run: async (stage) => {
    for (const request of requests) await refused(stage, request, status, early)
  },
})
const early = message(frame(1, 'too soon'))

export const upgrades: readonly Attack[] = [
  bad(
    'an upgrade with a wrong Sec-WebSocket-Version is refused',
    400,
    'upgrade',
    upgrade({ 'Sec-WebSocket-Version': '7' }),
    upgrade({ 'Sec-WebSocket-Version': '14' }),
    upgrade({ 'Sec-WebSocket-Version': 'x' }),
    upgrade({ 'Sec-WebSocket-Version': null }),
  ),
  bad(
    'an upgrade without a good key is refused',
    400,
    'upgrade',
    upgrade({ 'Sec-WebSocket-Key': null }),
    upgrade({ 'Sec-WebSocket-Key': '' }),
    upgrade({ 'Sec-WebSocket-Key': 'short' }),
    upgrade({ 'Sec-WebSocket-Key': '!'.repeat(24) }),
  ),
  bad(
    'an upgrade that says a header twice is refused',
    400,
    'upgrade',
    upgrade({ 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] }),
    upgrade({ 'Sec-WebSocket-Version': ['13', '13'] }),
  ),
  {
    name: 'an upgrade to something else is refused',
    verdict: 'HTTP 426',
    counters: refusals('upgrade', 4),
    run: async (stage) => {
      const others = ['h2c', 'websocket, h2c', ['h2c', 'websocket'], null]
      for (const other of others) await refused(stage, upgrade({ Upgrade: other }), 426)
    },
  },
  bad('an upgrade by another method is refused', 405, 'upgrade', upgrade({}, 'POST /ws HTTP/1.1')),
  bad(
    'an upgrade of another path is refused',
    404,
    'upgrade',
    upgrade({}, 'GET / HTTP/1.1'),
    upgrade({}, 'GET /ws/../metrics HTTP/1.1'),
    upgrade({}, 'GET //ws HTTP/1.1'),
  ),
  bad('an upgrade for two hosts is refused', 400, 'upgrade', upgrade({ Host: ['localhost', 'elsewhere'] })),
  bad(
    'a request for two hosts is refused',
    400,
    'request',
    upgrade({ Host: ['localhost', 'elsewhere'], Upgrade: null }, 'GET /metrics HTTP/1.1'),
  ),
  bad('headers of more than 16 KiB are refused', 431, 'request', upgrade({ Cookie: 'x'.repeat(20_000) })),
  bad(
    'a request that is no HTTP is refused',
    400,
    'request',
    'GET /ws\r\n\r\n',
    '\u0000\u0001\u0002\u0003\r\n\r\n',
    upgrade({ 'Content-Length': ['1', '2'] }),
    upgrade({ 'Content-Length': '5', 'Transfer-Encoding': 'chunked' }),
  ),
]
