// A client that cannot connect learns the cause at once, instead of code 1006 after ten seconds.

import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import test from 'node:test'

import { connect } from '../../client/index.ts'
import { createCertificate, opensslMissing } from '../support/certificate.ts'
import { serve, temporaryFolder } from '../support/program.ts'

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function assertCause(url: string, cause: RegExp): Promise<void> {
  const startedMs = performance.now()
  await assert.rejects(connect(url), (error: Error & { code?: string }) => {
    assert.match(error.message, cause, url)
    assert.equal(error.code, 'UNAVAILABLE')
    return true
  })
  assert.ok(performance.now() - startedMs < 8_000, `${url} took as long as the deadline`)
}

test('a client names why it cannot open a WebSocket: port, host, path, TLS, another server', async (context) => {
  const program = await serve('examples/hello')
  const host = program.http.replace('http://', '')
  await assertCause(`ws://${host}/wrong`, /answers HTTP 404 at \/wrong instead of a WebSocket: wrong path/)
  await assertCause(`wss://${host}/ws`, /does not use TLS, so its URL is ws:\/\//)
  await assertCause('ws://no-such-host.invalid/ws', /the host no-such-host\.invalid is unknown/)
  const page = createHttpServer((_request, response) => response.end('hello'))
  context.after(() => page.close().closeAllConnections())
  await assertCause(`ws://127.0.0.1:${await listen(page)}/ws`, /answers HTTP 200 at \/ws .*not a Firefly server/)
  const other = createServer((socket) => {
    context.after(() => socket.destroy())
    socket.on('error', () => {}).end('SSH-2.0-other\r\n')
  })
  context.after(() => other.close())
  await assertCause(`ws://127.0.0.1:${await listen(other)}/ws`, /is no HTTP server, or uses TLS/)
  const closed = createServer()
  const port = await listen(closed)
  await new Promise((resolve) => closed.close(resolve))
  await assertCause(`ws://127.0.0.1:${port}/ws`, /nothing listens on 127\.0\.0\.1:\d+ \(ECONNREFUSED\)/)
  await assert.rejects(
    connect(`ws://127.0.0.1:${port}/ws`, { connectMs: 700 }),
    /no answer within 700 ms \(nothing listens on/,
  )
  assert.equal(await program.stop(), 0)
})

test(
  'a client names TLS as the cause: ws:// to a TLS port, an untrusted certificate',
  { skip: opensslMissing },
  async () => {
    const { certFile, keyFile } = createCertificate(temporaryFolder(), 'unknown', false)
    const program = await serve('examples/hello', ['--tls-cert', certFile, '--tls-key', keyFile])
    const { host } = new URL(program.http)
    await assertCause(`ws://${host}/ws`, /is no HTTP server, or uses TLS: then its URL is wss:\/\//)
    await assertCause(
      `wss://${host}/ws`,
      /the certificate of 127\.0\.0\.1:\d+ is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
    )
    assert.equal(await program.stop(), 0)
  },
)
