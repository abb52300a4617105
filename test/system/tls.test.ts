// TLS on both listeners: legacy clients over TCP and the SDK over wss, certificates reloaded while clients are connected, and
// peers without TLS or with a slow handshake, which are closed and counted while other players are answered.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import { connect as dial, type Socket } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import * as tls from 'node:tls'
import { connect } from '../../client/index.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { ListenerRejections } from '../../edge/node/pendingsockets.ts'
import type { RunningServer, ServerOptions } from '../../edge/node/server.ts'
import type { TlsFiles } from '../../edge/node/tls.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { createCertificate, opensslFile, opensslMissing as skip } from '../support/certificate.ts'
import { startEcho } from '../support/echoserver.ts'
import { runToEnd, serve as serveProgram, temporaryFolder } from '../support/program.ts'
import { waitFor } from '../support/wait.ts'

const folder = temporaryFolder()
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

const firstCertificate = skip ? { certFile: '', keyFile: '' } : createCertificate(folder, 'first')

const serve = (options: Partial<ServerOptions> = {}): Promise<RunningServer> =>
  startEcho({ tls: firstCertificate, ...options })

async function connectTls(port: number, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const socket = tls.connect({ port, host: '127.0.0.1', ...options })
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => {})
  return socket
}

/** Returns the reply to a legacy client's command 1, which is its body. */
function echo(socket: Socket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const answered = (_command: number, source: Uint8Array, start: number, end: number): void =>
      resolve(Buffer.from(source.subarray(start, end)).toString())
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 20, answered)
    socket.on('data', (chunk: Buffer) => void decoder.push(chunk))
    socket.once('close', () => reject(new Error('closed')))
    socket.write(encodeFrame(identity, 1, Buffer.from(text)))
  })
}

/** Resolves when the server has closed the connection. */
function waitForClose(socket: Socket): Promise<void> {
  socket.resume().on('error', () => {})
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

test('answers a legacy client over TLS, the SDK over wss and a browser over https', { skip }, async () => {
  const { certFile, keyFile } = firstCertificate
  const program = await serveProgram('examples/echo', ['--tls-cert', certFile, '--tls-key', keyFile])
  assert.match(program.http, /^https:\/\/127\.0\.0\.1:\d+$/)
  assert.ok(program.lines.some((line) => line.startsWith('firefly ready http=https://')))
  const legacy = await connectTls(program.tcp.port)
  assert.equal(await echo(legacy, 'legacy'), 'legacy')
  const game = await connect(`${program.http.replace('https', 'wss')}/ws`)
  assert.deepEqual(await game.at(Echo).json({ text: 'new' }), { text: 'new' })
  assert.equal((await fetch(`${program.http}/healthz`)).status, 200)
  assert.match(await (await fetch(`${program.http}/metrics`)).text(), /^firefly_connections 2$/m)
  await game.close()
  legacy.destroy()
  assert.equal(await program.stop(), 0)
})

test('closes and counts a peer without TLS while a player is answered', { skip }, async () => {
  const server = await serve()
  const player = await connectTls(server.tcp.port)
  const frame = encodeFrame(identity, 1, Buffer.from('plain'))
  for (const port of [server.tcp.port, server.http.port]) {
    const plain = dial(port, '127.0.0.1')
    plain.write(port === server.tcp.port ? frame : 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    await waitForClose(plain)
  }
  const outdated = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  await assert.rejects(connectTls(server.tcp.port, outdated))
  await waitFor(() => server.refusals.counts.get('tls') === 3, 'three rejections are counted')
  assert.equal(await echo(player, 'still'), 'still')
  assert.equal(server.gateway.meter.accepted, 1)
  player.destroy()
})

test('logs the first failed handshake of each cause, up to a bound', () => {
  const warnings: string[] = []
  const rejections = new ListenerRejections({ warn: (message) => void warnings.push(message) })
  for (let kind = 0; kind < 100; kind++) rejections.countAndLog('tls', 'failed', '', String(kind))
  assert.deepEqual([warnings.length, rejections.counts.get('tls')], [32, 100])
})

test('limits the time of a handshake, however slowly its bytes arrive', { skip }, async () => {
  const server = await serve({ times: { firstFrameMs: 400 } })
  const player = await connectTls(server.tcp.port)
  assert.equal(await echo(player, 'in time'), 'in time')
  const hello = Buffer.from('1603010200010001fc0303', 'hex')
  const ends = [server.tcp.port, server.http.port].map(async (port) => {
    const slow = dial(port, '127.0.0.1')
    let sent = 0
    const drip = setInterval(() => void slow.write(hello.subarray(sent, ++sent)), 50)
    await waitForClose(slow)
    clearInterval(drip)
    return sent
  })
  for (const sent of await Promise.all(ends)) assert.ok(sent > 1 && sent <= hello.length, String(sent))
  assert.equal(server.refusals.counts.get('tls_timeout'), 2)
  assert.equal(await echo(player, 'still'), 'still')
  player.destroy()
})

test('limits the number of handshakes, and does not wait for them at the end', { skip }, async () => {
  const server = await serve({ limits: { maxUnproven: 1 } })
  const sockets = Array.from({ length: 80 }, () => dial(server.tcp.port, '127.0.0.1'))
  let closed = 0
  for (const socket of sockets) void waitForClose(socket).then(() => closed++)
  await waitFor(() => (server.refusals.counts.get('crowd') ?? 0) === 15 && closed === 15, '15 are rejected')
  await server.stop()
  await waitFor(() => closed === 80, 'all are closed')
})

test(
  'reloads the certificate at SIGHUP, keeps connections, and keeps the old one when the new one is invalid',
  { skip },
  async () => {
    const second = createCertificate(folder, 'second')
    const certFile = join(folder, 'served.crt')
    const keyFile = join(folder, 'served.key')
    const install = (files: TlsFiles): void => {
      copyFileSync(files.certFile, certFile)
      copyFileSync(files.keyFile, keyFile)
    }
    install(firstCertificate)
    const program = await serveProgram('examples/echo', ['--log', 'info', '--tls-cert', certFile, '--tls-key', keyFile])
    let log = ''
    program.child.stderr!.on('data', (chunk: Buffer) => (log += chunk.toString()))
    const certificateName = async (port: number): Promise<string> => {
      const socket = await connectTls(port)
      const name = String(socket.getPeerCertificate().subject.CN)
      socket.destroy()
      return name
    }
    const ports = [program.tcp.port, Number(new URL(program.http).port)]
    for (const port of ports) assert.equal(await certificateName(port), 'first')
    const player = await connectTls(program.tcp.port)
    install(second)
    process.kill(program.pid, 'SIGHUP')
    await waitFor(() => log.includes('certificate and key were reloaded'), 'the new certificate')
    for (const port of ports) assert.equal(await certificateName(port), 'second')
    writeFileSync(keyFile, 'not a key')
    process.kill(program.pid, 'SIGHUP')
    await waitFor(() => log.includes('could not be reloaded; the old ones stay'), 'the rejection of the invalid key')
    assert.match(log, /served\.key is not PEM/)
    for (const port of ports) assert.equal(await certificateName(port), 'second')
    assert.equal(await echo(player, 'still open'), 'still open')
    player.destroy()
    assert.equal(await program.stop(), 0)
  },
)

test('prints one line and exits with 2 for an invalid certificate or key', { skip }, async () => {
  const { certFile, keyFile } = firstCertificate
  const empty = join(folder, 'empty.pem')
  writeFileSync(empty, '')
  const locked = join(folder, 'locked.key')
  execFileSync(opensslFile, ['ec', '-in', keyFile, '-aes256', '-passout', 'pass:word', '-out', locked], {
    stdio: 'pipe',
  })
  const rows: [string[], RegExp][] = [
    [['--tls-cert', certFile], /go together: --tls-key is missing/],
    [['--tls-key', keyFile], /go together: --tls-cert is missing/],
    [['--tls-cert', join(folder, 'nowhere'), '--tls-key', keyFile], /nowhere cannot be read \(ENOENT\)/],
    [['--tls-cert', empty, '--tls-key', keyFile], /certificate .*empty\.pem is not PEM/],
    [['--tls-cert', certFile, '--tls-key', folder], /key .* cannot be read \(EISDIR\)/],
    [['--tls-cert', keyFile, '--tls-key', keyFile], /cannot be used together/],
    [
      ['--tls-cert', certFile, '--tls-key', createCertificate(folder, 'other').keyFile],
      /cannot be used together.*mismatch/,
    ],
    [['--tls-cert', certFile, '--tls-key', locked], /cannot be used together/],
  ]
  for (const [args, expected] of rows) {
    const { code, stderr } = await runToEnd(['serve', '--app', 'examples/echo', ...args])
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, expected)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  }
})
