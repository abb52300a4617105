// The list of origins: the Origin header alone decides which pages may open a WebSocket, before the gateway accepts the
// connection; native clients, which send none, are always accepted.

import assert from 'node:assert/strict'
import test from 'node:test'
import { connect } from '../../client/index.ts'
import { OriginError, originFilter } from '../../edge/gateway/origin.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { startEcho } from '../support/echoserver.ts'
import { runToEnd } from '../support/program.ts'
import { requestRaw, statusCode, upgradeLines } from '../support/rawhttp.ts'

test('answers an origin outside the list with 403 and counts it; accepts the list and native clients', async () => {
  const server = await startEcho({ origins: 'https://game.example, https://*.game.example' })
  const { port } = server.http
  assert.equal(statusCode(await requestRaw(port, upgradeLines('/ws', 'Origin: https://evil.example'))), 403)
  assert.equal(statusCode(await requestRaw(port, upgradeLines('/ws', 'Origin: null'))), 403)
  assert.equal(
    statusCode(
      await requestRaw(port, upgradeLines('/ws', 'Origin: https://game.example', 'Origin: https://evil.example')),
    ),
    403,
  )
  assert.equal(server.refusals.counts.get('origin'), 3)
  assert.equal(server.gateway.meter.accepted, 0)
  assert.equal(statusCode(await requestRaw(port, upgradeLines('/ws', 'Origin: https://game.example'))), 101)
  assert.equal(statusCode(await requestRaw(port, upgradeLines('/ws?x=1', 'Origin: https://eu.game.example'))), 101)
  const game = await connect(`ws://127.0.0.1:${port}/ws`)
  assert.deepEqual(await game.at(Echo).json({ text: 'native' }), { text: 'native' })
  await game.close()
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  assert.match(metrics, /^firefly_refused_total\{reason="origin"\} 3$/m)
})

test('matches origins by the entries of the list', () => {
  const rows: [list: string, origin: string | null, isAccepted: boolean][] = [
    ['', 'https://any.example', true],
    ['*', 'https://any.example', true],
    ['https://a.example', null, true],
    ['https://a.example', 'https://a.example', true],
    ['https://A.Example', 'HTTPS://a.EXAMPLE', true],
    ['https://a.example:443', 'https://a.example', true],
    ['https://a.example', 'http://a.example', false],
    ['https://a.example', 'https://a.example:8443', false],
    ['https://a.example', 'https://a.example.evil', false],
    ['https://a.example', 'https://xa.example', false],
    ['http://localhost:8080', 'http://localhost:8080', true],
    ['http://[::1]:8080', 'http://[::1]:8080', true],
    ['capacitor://localhost', 'capacitor://localhost', true],
    ['https://*.a.example', 'https://x.a.example', true],
    ['https://*.a.example', 'https://y.x.a.example', true],
    ['https://*.a.example', 'https://a.example', false],
    ['https://*.a.example', 'https://.a.example', false],
    ['https://*.a.example', 'https://evil/x.a.example', false],
    ['https://*.a.example', 'https://evil@x.a.example', false],
    ['https://*.a.example', 'https://xa.example', false],
    ['https://*.a.example:81', 'https://x.a.example:81', true],
    ['https://a.example', 'null', false],
    ['https://a.example,null', 'null', true],
  ]
  for (const [list, origin, isAccepted] of rows)
    assert.equal(originFilter(list)(origin), isAccepted, `${list} ${origin}`)
  for (const list of [
    'a.example',
    'https://',
    'https://a.example/',
    'https://a.example,',
    'https://x.*.example',
    'https://*',
    'https://a.example:70000',
    'https://u@a.example',
    'https://ä.example',
  ])
    assert.throws(() => originFilter(list), OriginError, list)
})

test('prints one line for an invalid list', async () => {
  const { code, stderr } = await runToEnd(['serve', '--origins', 'https://a.example,b.example'])
  assert.equal(code, 2)
  assert.match(stderr, /origin "b\.example" is not like https:\/\/game\.example/)
  assert.equal(stderr.trim().split('\n').length, 1, stderr)
})
