// The operator's contract: options, the ready line, signals, and one line for a failed start.

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { connect as connectClient } from '../../client/index.ts'
import {
  encodeFrame,
  FrameDecoder,
  HEADER_BYTES,
  frameIdentityBytes,
  type FrameIdentity,
} from '../../core/wire/frame.ts'
import { Hello } from '../../examples/hello/contract.ts'
import { runToEnd, serve, temporaryFolder } from '../support/program.ts'
import { readVectors } from '../support/vectors.ts'

const ZERO: FrameIdentity = { head: [0, 0, 0, 0], protoVersion: 0, serverVersion: 0 }

/** Sends chunks over a real TCP socket; resolves with all frames after `count` frames or when the server closes. */
function exchangeFrames(
  port: number,
  chunks: readonly Uint8Array[],
  count: number,
  identity = ZERO,
): Promise<{ frames: { command: number; body: Buffer }[]; closed: boolean }> {
  return new Promise((resolve, reject) => {
    const frames: { command: number; body: Buffer }[] = []
    const socket = connect(port, '127.0.0.1')
    const decoder = new FrameDecoder(identity, 1 << 24, (command, source, start, end) => {
      frames.push({ command, body: Buffer.from(source.slice(start, end)) })
    })
    socket.on('data', (chunk) => {
      decoder.push(chunk)
      if (frames.length >= count) socket.end()
    })
    socket.on('error', reject)
    let isOwnEnd = false
    socket.on('end', () => (isOwnEnd ||= frames.length >= count && count > 0))
    socket.on('close', () => resolve({ frames, closed: !isOwnEnd }))
    socket.setNoDelay(true)
    void (async () => {
      for (const chunk of chunks) {
        if (chunk.length > 0 && !socket.writableEnded) await new Promise((sent) => socket.write(chunk, sent))
        await new Promise(setImmediate)
      }
    })()
  })
}

test('prints one ready line, serves, and exits 0 after a drain on SIGTERM', async () => {
  const program = await serve('examples/hello')
  assert.equal(program.lines.filter((line) => line.startsWith('firefly ready ')).length, 1)
  assert.equal(program.pid, program.child.pid)
  const health = (await (await fetch(`${program.http}/healthz`)).json()) as { status: string }
  assert.equal(health.status, 'ok')
  const game = await connectClient(`${program.http.replace('http', 'ws')}/ws`)
  assert.deepEqual(await game.at(Hello).greet({ name: 'Ada' }), { text: 'Hello, Ada!' })
  const metrics = await (await fetch(`${program.http}/metrics`)).text()
  for (const name of [
    'firefly_connections 1',
    'firefly_backlog 0',
    'firefly_message_latency_seconds_bucket',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_gc_duration_seconds',
  ]) {
    assert.ok(metrics.includes(name), name)
  }
  await game.close()
  assert.equal(await program.stop(), 0)
})

test('answers every command of examples/echo of a legacy client over TCP', async () => {
  const program = await serve('examples/echo')
  const identity = frameIdentityBytes(ZERO)
  const json = Buffer.from('{"text":"hi"}')
  const msgpack = Buffer.from('81a474657874a26869', 'hex')
  const sent = [
    encodeFrame(identity, 1, Buffer.from('abc')),
    encodeFrame(identity, 4, Buffer.from('no answer')),
    encodeFrame(identity, 2, json),
    encodeFrame(identity, 3, msgpack),
    encodeFrame(identity, 5, Buffer.from('all')),
  ]
  const { frames } = await exchangeFrames(program.tcp.port, sent, 4)
  assert.deepEqual(
    frames.map(({ command, body }) => [command, body.toString('hex')]),
    [
      [1, Buffer.from('abc').toString('hex')],
      [2, json.toString('hex')],
      [3, msgpack.toString('hex')],
      [50, Buffer.from('all').toString('hex')],
    ],
  )
  await program.stop()
})

test('handles the vectors of the original code over a real TCP socket', async () => {
  const vectors = readVectors('frames')
  /** One server per frame identity. */
  const groups = new Map<string, { identity: FrameIdentity; run: ((port: number) => Promise<void>)[] }>()
  const add = (identity: FrameIdentity, run: (port: number) => Promise<void>): void => {
    const key = `${identity.head.join(',')}/${identity.protoVersion}/${identity.serverVersion}`
    const group = groups.get(key) ?? { identity, run: [] }
    group.run.push(run)
    groups.set(key, group)
  }
  let checked = 0
  // An echo after every frame shows that the server has read the frame: command 1 returns its body.
  for (const frame of vectors.frames) {
    add(frame, async (port) => {
      const probe = encodeFrame(frameIdentityBytes(frame), 1, Buffer.from(frame.name))
      const bytes = Buffer.from(frame.frameHex, 'hex')
      const answers = frame.command === 1 || frame.command === 5 ? 2 : 1
      const { frames } = await exchangeFrames(port, [bytes, probe], answers, frame)
      const last = frames.at(-1)!
      assert.equal(last.body.toString(), frame.name, frame.name)
      if (frame.command === 1) assert.equal(frames[0]!.body.toString('hex'), frame.bodyHex, frame.name)
      checked++
    })
  }
  for (const head of vectors.illegal) {
    const bytes = Buffer.from(head.headerHex, 'hex')
    if (bytes.length < HEADER_BYTES || head.name.includes('18 bytes')) {
      checked++
      continue // The original's unpack() was called with a wrong length, which the streams cover.
    }
    const { expectHead, expectProtoVersion: protoVersion, expectServerVersion: serverVersion } = head
    const identity = { head: expectHead, protoVersion, serverVersion }
    add(identity, async (port) => {
      const before = encodeFrame(frameIdentityBytes(identity), 1, Buffer.from('before'))
      const { frames, closed } = await exchangeFrames(port, [before, bytes], 2, identity)
      assert.equal(frames.length, 1, `${head.name}: the previous frame is answered`)
      assert.ok(closed, `${head.name}: closed`)
      checked++
    })
  }
  for (const stream of vectors.streams) {
    add(stream, async (port) => {
      const chunks = stream.chunksHex.map((hex) => Buffer.from(hex, 'hex'))
      const echoes = stream.expected.dispatched.filter(([command]) => command === 1)
      // Waits for more frames than come if the server must close, or if an incomplete stream ends by its idle time.
      const count = Math.max(1, echoes.length) + (stream.expected.closed ? 1 : 0)
      const { frames, closed } = await exchangeFrames(port, chunks, count, stream)
      const answers = frames.filter(({ command }) => command === 1).map(({ body }) => body.toString('hex'))
      const expected = echoes.map(([, hex]) => hex)
      assert.deepEqual(answers, expected, stream.name)
      if (stream.expected.closed) assert.ok(closed, stream.name)
      checked++
    })
  }
  for (const { identity, run } of groups.values()) {
    const { head, protoVersion, serverVersion } = identity
    const program = await serve('examples/echo', [
      '--head',
      head.join(','),
      '--protocol-version',
      String(protoVersion),
      '--server-version',
      String(serverVersion),
      '--idle',
      '400',
      // One vector is larger than the default.
      '--max-body',
      '65536',
    ])
    // In sequence, because they share a shard whose broadcasts would reach the other connections.
    for (const check of run) await check(program.tcp.port)
    await program.stop()
  }
  assert.equal(checked, vectors.frames.length + vectors.illegal.length + vectors.streams.length)
})

test('a failed start prints one line and exits 2', async () => {
  const folder = temporaryFolder()
  const bad = join(folder, 'bad.ts')
  writeFileSync(bad, 'this is not typescript')
  const noGame = join(folder, 'nogame.ts')
  writeFileSync(noGame, 'export default 1')
  const throwing = join(folder, 'throwing.ts')
  writeFileSync(throwing, "throw new Error('config is missing')")
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  const { port } = taken.address() as AddressInfo
  const rows: [string[], RegExp][] = [
    [['--no-such-option'], /unknown option '--no-such-option'/],
    [['--zookeeper', 'localhost:2181'], /unknown option '--zookeeper'/],
    [['--http', '70000'], /'70000' is invalid/],
    [['--http', '-1'], /invalid|argument missing/],
    [['--head', '1,2,3'], /four numbers/],
    [['--head', '1,2,3,256'], /four numbers/],
    [['--protocol-version', '256'], /'256' is invalid/],
    [['--log', 'loud'], /info, warn, error, silent/],
    [['--app', join(folder, 'nowhere')], /does not exist/],
    [['--app', folder], /has no server\.ts/],
    [['--app', bad], /does not compile: .*bad\.ts:1/],
    [['--app', noGame], /must export its game/],
    [['--app', throwing], /does not load: Error: config is missing; at \S+throwing\.ts:1:7: throw new Error/],
    [['--app', 'examples/hello', '--http', '0', '--tcp', String(port), '--data', folder], /in use; choose another/],
    [['--app', 'examples/hello', '--http', '0', '--tcp', '0', '--data', bad], /bad\.ts/],
  ]
  for (const [args, expected] of rows) {
    const { code, stderr } = await runToEnd(['serve', ...args])
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`)
    assert.match(stderr, expected)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  }
  taken.close()
})

test('reads options from the command line, then the environment, then firefly.json', async () => {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'firefly.json'), JSON.stringify({ http: 70_000 }))
  const fromFile = await runToEnd(['serve'], {}, folder)
  assert.equal(fromFile.code, 2)
  assert.match(fromFile.stderr, /firefly\.json: http 70000/)
  writeFileSync(join(folder, 'firefly.json'), JSON.stringify({ htp: 1 }))
  assert.match((await runToEnd(['serve'], {}, folder)).stderr, /firefly\.json: unknown option "htp"/)
  writeFileSync(join(folder, 'firefly.json'), JSON.stringify({ app: 'from-file' }))
  assert.match((await runToEnd(['serve'], {}, folder)).stderr, /app from-file does not exist/)
  assert.match((await runToEnd(['serve'], { FIREFLY_APP: 'from-env' }, folder)).stderr, /app from-env does not exist/)
  const both = await runToEnd(['serve', '--app', 'from-line'], { FIREFLY_APP: 'from-env' }, folder)
  assert.match(both.stderr, /app from-line does not exist/)
})

test('a close reason that quotes a long message does not stop the server', async () => {
  const program = await serve('examples/hello')
  const socket = new WebSocket(`${program.http.replace('http', 'ws')}/ws`)
  const closed = new Promise<CloseEvent>((resolve) => (socket.onclose = resolve))
  await new Promise((resolve) => (socket.onopen = resolve))
  // {name: '€' x 200}: too long, and each character takes three bytes of the close reason.
  const name = Buffer.from('€'.repeat(200))
  const body = Buffer.concat([
    Buffer.from('81a46e616d65da', 'hex'),
    Buffer.from([name.length >> 8, name.length & 255]),
    name,
  ])
  for (let i = 0; i < 10; i++) socket.send(encodeFrame(frameIdentityBytes(ZERO), 1, body) as Uint8Array<ArrayBuffer>)
  const { code, reason } = await closed
  assert.equal(code, 1008)
  assert.match(reason, /^STRIKES: 10 refused messages/)
  const game = await connectClient(`${program.http.replace('http', 'ws')}/ws`)
  assert.deepEqual(await game.at(Hello).greet({ name: '€' }), { text: 'Hello, €!' })
  await game.close()
  assert.equal(await program.stop(), 0)
})
