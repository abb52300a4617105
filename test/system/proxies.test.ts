// Real proxies from Debian in front of a real server: nginx with a prefix that it removes or leaves, HAProxy with the PROXY
// protocol in both versions and with TLS passed through. The client's address is 127.0.0.2, the proxy's is 127.0.0.1.

import assert from 'node:assert/strict'
import { connect as dial, type Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import * as tls from 'node:tls'
import { createCertificate, opensslMissing } from '../support/certificate.ts'
import { temporaryFolder } from '../support/program.ts'
import { proxiesMissing, startHaproxy, startNginx } from '../support/proxyprogram.ts'
import { startVisits, visit, visitWebSocket } from '../support/visits.ts'

const LOCAL = '127.0.0.1'
const CLIENT = '127.0.0.2'
const TRUSTED = { trustProxy: LOCAL }
const PAGE = new Map([['/', { type: 'text/html; charset=utf-8', body: Buffer.from('the page') }]])
const skip = proxiesMissing

/** A connection from the client's address. */
function dialFromClient(port: number): Socket {
  return dial({ port, host: LOCAL, localAddress: CLIENT, noDelay: true })
}
function dialTlsFromClient(port: number): Socket {
  return tls.connect({ socket: dialFromClient(port), rejectUnauthorized: false })
}

/** The example of docs/operating.md in that language, with other ports. */
function documented(language: string, from: RegExp, port: number, to: string): string {
  const page = readFileSync(join(import.meta.dirname, '../../docs/operating.md'), 'utf8')
  const [, example] = new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(page)!
  return example!.replace(from, `$1${port}`).replace(/127\.0\.0\.1:\d+/, to)
}

test('nginx as documented: X-Forwarded-For, also of a client that sends its own', { skip }, async () => {
  const server = await startVisits(TRUSTED)
  const port = await startNginx((own) => documented('nginx', /(listen )80/, own, `${LOCAL}:${server.http.port}`))
  const url = `ws://${LOCAL}:${port}/ws`
  for (const headers of [{}, { 'X-Forwarded-For': '6.6.6.6' }, { Forwarded: 'for=6.6.6.6' }, { Forwarded: 'for="6.6' }])
    assert.equal(await visitWebSocket(url, headers as Record<string, string>, dialFromClient(port)), CLIENT)
  assert.deepEqual([...server.refusals.counts], [])
})

test('nginx below a prefix, which it removes or leaves', { skip }, async () => {
  const server = await startVisits({ ...TRUSTED, basePath: '/left', page: PAGE })
  const upstream = `http://${LOCAL}:${server.http.port}`
  const headers = `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    proxy_set_header X-Forwarded-For $remote_addr;`
  const port = await startNginx(
    (own) => `server { listen ${own}; ${headers}
      location /removed/ { proxy_pass ${upstream}/; }
      location /left { proxy_pass ${upstream}; } }`,
  )
  const http = `http://${LOCAL}:${port}`
  for (const prefix of ['/removed', '/left']) {
    assert.equal(await visitWebSocket(`ws://${LOCAL}:${port}${prefix}/ws`, {}, dialFromClient(port)), CLIENT, prefix)
    assert.equal((await fetch(`${http}${prefix}/healthz`)).status, 200, prefix)
    // Without the last slash nginx, or the server, redirects to where the page finds its files.
    const page = await fetch(`${http}${prefix}`, { redirect: 'manual' })
    assert.match(page.headers.get('location') ?? '', new RegExp(`${prefix}/$`))
    assert.equal(await (await fetch(`${http}${prefix}/`)).text(), 'the page')
  }
})

for (const option of ['send-proxy', 'send-proxy-v2', 'send-proxy-v2-ssl-cn'])
  test(`HAProxy with ${option}: TCP and WebSocket`, { skip }, async () => {
    const server = await startVisits(TRUSTED)
    const listen = (name: string, own: number, { port }: { readonly port: number }): string =>
      `listen ${name}\n  bind ${LOCAL}:${own}\n  server firefly ${LOCAL}:${port} ${option}\n`
    const tcp = await startHaproxy((own) => listen('tcp', own, server.tcp))
    assert.equal(await visit(dialFromClient(tcp)), CLIENT)
    const http = await startHaproxy((own) => listen('http', own, server.http))
    assert.equal(await visitWebSocket(`ws://${LOCAL}:${http}/ws`, {}, dialFromClient(http)), CLIENT)
    // A header that the client sends is behind the proxy's.
    await assert.rejects(visit(dialFromClient(tcp), Buffer.from('PROXY TCP4 6.6.6.6 6.6.6.7 1 2\r\n')), /closed/)
    // Without a proxy.
    assert.equal(await visit(dial({ port: server.tcp.port, host: LOCAL })), LOCAL)
  })

test('HAProxy as documented, in front of TLS', { skip: skip || opensslMissing }, async () => {
  const certificate = createCertificate(temporaryFolder(), 'passed')
  const server = await startVisits({ ...TRUSTED, tls: certificate })
  const forward = (to: number) => (own: number) => documented('haproxy', /(bind :)\d+/, own, `${LOCAL}:${to}`)
  const tcp = await startHaproxy(forward(server.tcp.port))
  assert.equal(await visit(dialTlsFromClient(tcp)), CLIENT)
  const https = await startHaproxy(forward(server.http.port))
  assert.equal(await visitWebSocket(`wss://${LOCAL}:${https}/ws`, {}, dialTlsFromClient(https)), CLIENT)
})

test('HAProxy with checks: LOCAL headers are accepted', { skip }, async () => {
  const server = await startVisits(TRUSTED)
  const port = await startHaproxy(
    (own) => `listen tcp\n  bind ${LOCAL}:${own}\n  default-server inter 50ms check send-proxy-v2 check-send-proxy
  server firefly ${LOCAL}:${server.tcp.port}\n`,
  )
  assert.equal(await visit(dialFromClient(port)), CLIENT)
  assert.equal(await visit(dialFromClient(port)), CLIENT)
  assert.deepEqual([...server.refusals.counts], [])
})
