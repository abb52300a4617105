// `bench split`: the cost of a 4 MiB body in 4,096 pieces of 1 KiB, as a multiple of the same body in one piece: CPU of
// a server that receives it over TCP, and of the decoder alone in this process. Both alternate in one run. Each
// baseline has its own line: see `baseline` in the output and at the cases below.

import { type Socket, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { DEFAULT_FRAME_IDENTITY, FrameDecoder, encodeFrame, frameIdentityBytes } from '../../core/wire/frame.ts'
import { readCpu, spentNs } from './cpu.ts'
import { type Profile, printRatio } from './figure.ts'
import { median, roundFigure } from '../support/figure.ts'
import { type MeasuredServer, canPin, pinSelf, progressOfPinning, startFirefly } from './server.ts'

const BODY_BYTES = 4_194_304
const PIECE_BYTES = 1_024
/** The largest read of a Node socket: the pieces in which a server receives a body that was sent in one write. */
const READ_BYTES = 65_536
/** The original Firefly copies the body once per piece; an O(n) decoder stays below a small multiple. */
const AIM = { kind: 'max', value: 3 } as const
/** examples/echo: command 1 returns its raw body, command 4 takes one and replies nothing. */
const ECHO_COMMAND = 1
const SINK_COMMAND = 4
const BARRIER_MS = 10_000
/** The CPU times of an idle server are exact. */
const SETTLE_MS = 5

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

export async function run(profile: Profile): Promise<void> {
  const pinned = canPin()
  if (pinned) pinSelf()
  progressOfPinning(pinned)
  measureDecoder(profile, pinned)
  const server = await startFirefly(['--max-body', String(BODY_BYTES)], pinned)
  try {
    await measureTcp(profile, server, pinned)
  } finally {
    await server.stop()
  }
}

/** One frame, split into pieces of its body; the header is in the first piece. */
function splitFrame(pieceBytes: number): Uint8Array[] {
  const frame = encodeFrame(identity, SINK_COMMAND, new Uint8Array(BODY_BYTES).fill(7))
  const header = frame.length - BODY_BYTES
  const pieces = [frame.subarray(0, header + pieceBytes)]
  for (let at = header + pieceBytes; at < frame.length; at += pieceBytes)
    pieces.push(frame.subarray(at, at + pieceBytes))
  return pieces
}

function measureDecoder(profile: Profile, pinned: boolean): void {
  const rounds = profile.quick ? 3 : 15
  const bodies = profile.quick ? 10 : 50
  const whole = splitFrame(BODY_BYTES)
  const reads = splitFrame(READ_BYTES)
  const small = splitFrame(PIECE_BYTES)
  const cases = [
    // As in a gateway: the chunk is valid only during the call, so the receiver copies the body once.
    { baseline: 'one chunk, body copied', base: whole },
    // As the server receives one write of the client.
    { baseline: '64 KiB reads, body copied', base: reads },
  ]
  for (const { baseline, base } of cases) {
    const spent = { base: [] as number[], split: [] as number[] }
    for (let n = 0; n <= rounds; n++) {
      const baseUs = decode(base, bodies)
      const splitUs = decode(small, bodies)
      // Round 0 warms up.
      if (n > 0) {
        spent.base.push(baseUs)
        spent.split.push(splitUs)
      }
    }
    report(profile, { figure: 'decoder', baseline, rounds, pinned }, spent)
  }
}

/** CPU us per body. */
function decode(chunks: readonly Uint8Array[], bodies: number): number {
  let seen = 0
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, BODY_BYTES, (_command, source, start, end) => {
    seen += source.slice(start, end).length
  })
  const before = process.cpuUsage()
  for (let n = 0; n < bodies; n++) for (const chunk of chunks) decoder.push(chunk)
  const { user, system } = process.cpuUsage(before)
  if (seen !== bodies * BODY_BYTES) throw new Error(`the decoder delivered ${seen} bytes of ${bodies} bodies`)
  return (user + system) / bodies
}

async function measureTcp(profile: Profile, server: MeasuredServer, pinned: boolean): Promise<void> {
  const rounds = profile.quick ? 3 : 15
  const bodies = profile.quick ? 4 : 8
  const whole = splitFrame(BODY_BYTES)
  const small = splitFrame(PIECE_BYTES)
  const socket = connect({ host: server.host, port: server.port, noDelay: true })
  const barrier = createEchoBarrier(socket)
  await barrier()
  const cases = [
    // 4,096 consecutive writes: libuv and the kernel join most of them, as for a real client.
    { figure: 'wire', send: sendAll },
    // Each write finishes before the next: about one read per piece, so the kernel's cost is included.
    { figure: 'wirePaced', send: sendPaced },
  ]
  for (const { figure, send } of cases) {
    const spent = { base: [] as number[], split: [] as number[] }
    for (let n = 0; n <= rounds; n++) {
      const baseUs = await receive(() => sendAll(socket, whole))
      const splitUs = await receive(() => send(socket, small))
      if (n > 0) {
        spent.base.push(baseUs)
        spent.split.push(splitUs)
      }
    }
    report(profile, { figure, side: server.side, baseline: 'one write', rounds, pinned }, spent)
  }
  socket.destroy()

  /** The server's CPU us per body. */
  async function receive(sendBody: () => Promise<void>): Promise<number> {
    await sleep(SETTLE_MS)
    const before = readCpu(server.pid)
    for (let n = 0; n < bodies; n++) {
      await sendBody()
      await barrier()
    }
    await sleep(SETTLE_MS)
    return spentNs(before, readCpu(server.pid)) / 1_000 / bodies
  }
}

async function sendAll(socket: Socket, chunks: readonly Uint8Array[]): Promise<void> {
  for (const chunk of chunks) socket.write(chunk)
}

async function sendPaced(socket: Socket, chunks: readonly Uint8Array[]): Promise<void> {
  for (const chunk of chunks) await new Promise<void>((resolve) => socket.write(chunk, () => resolve()))
}

/** The returned function sends an echo request and waits for it: then the server has received everything before it. */
function createEchoBarrier(socket: Socket): () => Promise<void> {
  const frame = Buffer.from(encodeFrame(identity, ECHO_COMMAND, new Uint8Array(64).fill(9)))
  let pending: PromiseWithResolvers<void> | undefined
  let received = Buffer.alloc(0)
  let failure: Error | undefined
  const fail = (error: Error): void => {
    failure ??= error
    pending?.reject(failure)
  }
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('split: the server closed the connection')))
  socket.on('data', (data) => {
    received = Buffer.concat([received, data])
    if (!pending || !frame.subarray(0, received.length).equals(received)) {
      fail(new Error(`split: unexpected bytes from the server: ${received.toString('hex', 0, 100)}`))
    } else if (received.length === frame.length) {
      received = Buffer.alloc(0)
      pending.resolve()
      pending = undefined
    }
  })
  return async () => {
    if (failure) throw failure
    pending = Promise.withResolvers<void>()
    socket.write(frame)
    const timer = setTimeout(() => fail(new Error(`split: no echo in ${BARRIER_MS} ms`)), BARRIER_MS)
    await pending.promise
    clearTimeout(timer)
  }
}

function report(
  profile: Profile,
  labels: Readonly<Record<string, string | number | boolean>>,
  spent: { readonly base: readonly number[]; readonly split: readonly number[] },
): void {
  const baseUs = median(spent.base)
  const splitUs = median(spent.split)
  const cpu = { cpuUsPerBody: roundFigure(splitUs), baselineCpuUsPerBody: roundFigure(baseUs) }
  printRatio(profile, { bench: 'split', ...labels, ...cpu }, splitUs / baseUs, AIM)
}
