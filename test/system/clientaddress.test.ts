// The client's address behind proxies, on real sockets: PROXY headers on the TCP and the HTTP port, before TLS too, and
// the headers of HTTP proxies; who may send them, what is refused, and the limits per address.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { RunningServer } from '../../edge/node/server.ts'
import { createCertificate, opensslMissing } from '../support/certificate.ts'
import { runToEnd, temporaryFolder } from '../support/program.ts'
import { addressesV6, proxyV1, proxyV2 } from '../support/proxyheader.ts'
import { dialWith, startVisits, visit, VISIT_FRAME, visitWebSocket } from '../support/visits.ts'
import { waitFor } from '../support/wait.ts'

const ADA = '192.0.2.7'
const LOCAL = '127.0.0.1'
const TRUSTED = { trustProxy: '127.0.0.1' }
const EMPTY = Buffer.alloc(0)
const tlv = [0xe1, Buffer.from('a value')] as const

const HEADERS: readonly (readonly [header: Buffer, address: string])[] = [
  [proxyV1(ADA), ADA],
  [proxyV2(), ADA],
  [proxyV2({ tlvs: [tlv, tlv] }), ADA],
  [proxyV2({ family: 0x21, addresses: addressesV6([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0207]) }), ADA],
  [proxyV1('2001:db8::7'), '2001:db8::7'],
  [proxyV2({ command: 0x20 }), LOCAL],
  [proxyV2({ family: 0, addresses: EMPTY }), LOCAL],
  [proxyV2({ family: 0x31, addresses: Buffer.alloc(216, 47) }), LOCAL],
  [Buffer.from('PROXY UNKNOWN\r\n'), LOCAL],
  // A client in a trusted network that connects directly.
  [EMPTY, LOCAL],
]

const wsOf = ({ http }: RunningServer): string => `ws://${LOCAL}:${http.port}/ws`

async function waitForRefusal(server: RunningServer, reason: string, count: number): Promise<void> {
  const counts: ReadonlyMap<string, number> = server.refusals.counts
  await waitFor(
    () => counts.get(reason) === count,
    `${count} refusals by ${reason}, not ${JSON.stringify([...counts])}`,
  )
}

function waitForClose(socket: Socket): Promise<unknown> {
  return socket.destroyed ? Promise.resolve() : once(socket.resume(), 'close')
}

test('TCP: the client that a PROXY header names, glued to the first frame, alone, or in single bytes', async () => {
  const server = await startVisits(TRUSTED)
  const { port } = server.tcp
  for (const [header, address] of HEADERS) {
    assert.equal(await visit(await dialWith(port, EMPTY), Buffer.concat([header, VISIT_FRAME])), address)
    const socket = await dialWith(port, EMPTY)
    for (const byte of header) {
      socket.write(Uint8Array.of(byte))
      await new Promise(setImmediate)
    }
    assert.equal(await visit(socket), address)
  }
  assert.deepEqual([...server.refusals.counts], [])
})

test('HTTP and WebSocket: the client that a PROXY header names', async () => {
  const server = await startVisits(TRUSTED)
  for (const [header, address] of HEADERS) {
    const socket = await dialWith(server.http.port, header)
    assert.equal(await visitWebSocket(wsOf(server), {}, socket), address)
  }
  const plain = await dialWith(server.http.port, proxyV2())
  plain.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  const [response] = (await once(plain, 'data')) as [Buffer]
  assert.match(response.toString(), /^HTTP\/1\.1 200/)
  assert.deepEqual([...server.refusals.counts], [])
})

test('TLS: the PROXY header precedes the handshake on both ports', { skip: opensslMissing }, async () => {
  const tls = createCertificate(temporaryFolder(), 'proxied')
  const server = await startVisits({ ...TRUSTED, tls })
  for (const [header, address] of HEADERS) {
    assert.equal(await visit(await dialWith(server.tcp.port, header, true)), address)
    const socket = await dialWith(server.http.port, header, true)
    assert.equal(await visitWebSocket(wsOf(server).replace('ws:', 'wss:'), {}, socket), address)
  }
  const untrusted = await startVisits({ trustProxy: ADA, tls })
  for (const [count, { port }] of [untrusted.tcp, untrusted.http].entries()) {
    assert.equal(await visit(await dialWith(untrusted.tcp.port, EMPTY, true)), LOCAL)
    await waitForClose(await dialWith(port, proxyV2()))
    await waitForRefusal(untrusted, 'proxy', count + 1)
  }
})

test('WebSocket: the client that X-Forwarded-For or Forwarded names', async () => {
  const server = await startVisits({ trustProxy: '127.0.0.1,10.0.0.0/8' })
  const url = wsOf(server)
  assert.equal(await visitWebSocket(url, { 'X-Forwarded-For': `6.6.6.6, ${ADA}, 10.0.0.2` }), ADA)
  assert.equal(await visitWebSocket(url, { Forwarded: `for=6.6.6.6, for="[2001:db8::7]:1"` }), '2001:db8::7')
  assert.equal(await visitWebSocket(url, { 'X-Forwarded-For': ADA, Forwarded: `for=${ADA}` }), ADA)
  assert.equal(await visitWebSocket(url), LOCAL)
  const spoofed = visitWebSocket(url, { 'X-Forwarded-For': ADA, Forwarded: 'for=6.6.6.6' })
  await assert.rejects(spoofed, /400/)
  await assert.rejects(visitWebSocket(url, { Forwarded: `for="6.6.6.6, for=${ADA}` }), /400/)
  await waitForRefusal(server, 'forwarded', 2)
  // The proxy that connects by a PROXY header is itself behind another one.
  const socket = await dialWith(server.http.port, proxyV1('10.0.0.3'))
  assert.equal(await visitWebSocket(url, { 'X-Forwarded-For': ADA }, socket), ADA)
  const direct = await dialWith(server.http.port, proxyV1('192.0.2.99'))
  assert.equal(await visitWebSocket(url, { 'X-Forwarded-For': ADA }, direct), '192.0.2.99')
})

test('headers of an address that is not trusted name nobody, and its PROXY header is refused', async () => {
  for (const options of [{}, { trustProxy: ADA }]) {
    const server = await startVisits(options)
    assert.equal(await visitWebSocket(wsOf(server), { 'X-Forwarded-For': ADA, Forwarded: 'for="' }), LOCAL)
    assert.equal(await visit(await dialWith(server.tcp.port, EMPTY)), LOCAL)
    let count = 0
    for (const { port } of [server.tcp, server.http])
      for (const header of [proxyV1(ADA), proxyV2()]) {
        await waitForClose(await dialWith(port, Buffer.concat([header, VISIT_FRAME])))
        await waitForRefusal(server, 'proxy', ++count)
      }
    assert.equal(server.gateway.meter.closes.get('BAD_IDENTITY'), 2)
  }
})

test('a malformed or incomplete PROXY header of a proxy closes the connection', async () => {
  const server = await startVisits({ ...TRUSTED, times: { firstFrameMs: 300 } })
  let count = 0
  for (const { port } of [server.tcp, server.http])
    for (const header of [proxyV1('192.0.2.777'), proxyV2({ command: 0x31 }), proxyV2({ family: 0x21 })]) {
      await waitForClose(await dialWith(port, Buffer.concat([header, VISIT_FRAME])))
      await waitForRefusal(server, 'proxy_header', ++count)
    }
  const silent = [EMPTY, Buffer.from('PROXY TCP4 192'), proxyV2().subarray(0, 14)]
  for (const [index, bytes] of silent.entries()) {
    await waitForClose(await dialWith(server.tcp.port, bytes))
    await waitForRefusal(server, 'proxy_timeout', index + 1)
  }
  // A connection that ends before its header is no fault.
  for (const bytes of silent) (await dialWith(server.tcp.port, bytes)).end()
  assert.equal(await visit(await dialWith(server.tcp.port, proxyV1(ADA))), ADA)
})

test('connections are limited per real address, and waiting ones in total', async () => {
  const limits = { maxPerAddress: 2, maxUnproven: 8 }
  const server = await startVisits({ ...TRUSTED, limits })
  const open = async (address: string): Promise<Socket> => {
    const socket = await dialWith(server.tcp.port, Buffer.concat([proxyV1(address), VISIT_FRAME]))
    await Promise.race([once(socket, 'data'), once(socket, 'close')])
    return socket
  }
  const sockets = [await open(ADA), await open(ADA), await open('192.0.2.8')]
  assert.deepEqual(
    sockets.map(({ destroyed, readableEnded }) => destroyed || readableEnded),
    [false, false, false],
  )
  const third = await open(ADA)
  await waitForClose(third)
  assert.equal(server.gateway.connectionLimiter.counts.rejections.address, 1)
  // Connections without a header wait for one: 64 above the limit of the gateway.
  const waiting = await Promise.all(
    Array.from({ length: limits.maxUnproven + 64 + 3 }, () => dialWith(server.tcp.port, EMPTY)),
  )
  await waitForRefusal(server, 'crowd', 3)
  for (const socket of [...sockets, ...waiting]) socket.destroy()
  await waitFor(() => server.gateway.connectionCount === 0, 'all connections are closed')
  assert.equal(await visit(await dialWith(server.tcp.port, proxyV1(ADA))), ADA)
})

test('an invalid network is one line that names it', async () => {
  const { code, stderr } = await runToEnd(['serve', '--trust-proxy', '10.0.0.0/8,proxy.example'])
  assert.equal(code, 2)
  assert.match(stderr, /network "proxy\.example" is not like 10\.0\.0\.0\/8/)
  assert.equal(stderr.trim().split('\n').length, 1, stderr)
})
