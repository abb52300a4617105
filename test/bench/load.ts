// The load generator, in its own process: N connections with P frames in flight each, in a closed loop: k frames
// received, k frames sent in one write. Invariant: every returned byte is compared with the sent byte, order included.
// It prints `start` and `stop` around the measured window, then one JSON line; any error exits with 1.

import { type Socket, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../core/wire/frame.ts'

const BODY_BYTES = 64
const FRAME_BYTES = 17 + BODY_BYTES
const DRAIN_MS = 5_000
/** Latencies are counted in bins of 1 us; the last bin has all slower ones. */
const MAX_US = 1_000_000

/** One connection. Its bytes repeat after P frames; `stream` holds two periods, so that a slice never wraps. */
interface LoadConnection {
  readonly socket: Socket
  readonly stream: Buffer
  /** Slices of `stream` by first slot and number of frames, created on first use. */
  readonly slices: (Buffer | undefined)[]
  /** When the frame of each slot was written, ms. */
  readonly sentAt: Float64Array
  /** Slot of the oldest frame in flight, which is sent again after it is received. */
  slot: number
  /** Received bytes of the oldest frame. */
  receivedBytes: number
  inFlight: number
}

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string' },
    connections: { type: 'string', default: '50' },
    'in-flight': { type: 'string', default: '1' },
    command: { type: 'string', default: '1' },
    'warm-up-ms': { type: 'string', default: '1000' },
    'measure-ms': { type: 'string', default: '3000' },
  },
})
const connections = Number(values.connections)
const inFlight = Number(values['in-flight'])

/** One read buffer for all connections: each read is compared before the next one. */
const readBuffer = Buffer.alloc(65_536)
const latencies = new Uint32Array(MAX_US + 1)
let messages = 0
let isSending = true
const drained = Promise.withResolvers<void>()

const flows = await Promise.all(Array.from({ length: connections }, (_, index) => open(index)))
for (const flow of flows) send(flow, inFlight, performance.now())
await sleep(Number(values['warm-up-ms']))

messages = 0
latencies.fill(0)
const startedAt = performance.now()
console.log('start')
await sleep(Number(values['measure-ms']))
const seconds = (performance.now() - startedAt) / 1_000
const result = { messages, seconds, p50Us: percentile(0.5), p99Us: percentile(0.99) }
console.log('stop')
if (messages === 0) fail('no message was received in the measured window')

isSending = false
const drainTimer = setTimeout(() => {
  fail(`${flows.reduce((sum, flow) => sum + flow.inFlight, 0)} frames were not received within ${DRAIN_MS} ms`)
}, DRAIN_MS)
await drained.promise
clearTimeout(drainTimer)
console.log(JSON.stringify(result))
process.exit(0)

function open(index: number): Promise<LoadConnection> {
  const opened = Promise.withResolvers<LoadConnection>()
  const socket = connect({
    host: values.host,
    port: Number(values.port),
    noDelay: true,
    onread: {
      buffer: readBuffer,
      callback(bytes) {
        receive(flow, bytes)
        return true
      },
    },
  })
  const flow: LoadConnection = {
    socket,
    stream: twoPeriods(index),
    slices: [],
    sentAt: new Float64Array(inFlight),
    slot: 0,
    receivedBytes: 0,
    inFlight: 0,
  }
  socket.once('connect', () => opened.resolve(flow))
  socket.once('error', (error) => fail(`connection ${index}: ${error.message}`))
  socket.once('close', () => fail(`connection ${index} was closed by the server`))
  return opened.promise
}

/** Each frame of each connection has a different body, so that a mix-up is detected. */
function twoPeriods(index: number): Buffer {
  const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
  const frames = Array.from({ length: inFlight }, (_, slot) => {
    const body = Buffer.from(Array.from({ length: BODY_BYTES }, (__, i) => index * 31 + slot * 7 + i * 13))
    body.writeUInt16BE(index, 0)
    body.writeUInt16BE(slot, 2)
    return encodeFrame(identity, Number(values.command), body)
  })
  return Buffer.concat([...frames, ...frames])
}

function send(flow: LoadConnection, frames: number, now: number): void {
  const first = (flow.slot + flow.inFlight) % inFlight
  for (let i = 0; i < frames; i++) flow.sentAt[(first + i) % inFlight] = now
  const key = first * inFlight + frames - 1
  const slice = (flow.slices[key] ??= flow.stream.subarray(first * FRAME_BYTES, (first + frames) * FRAME_BYTES))
  flow.inFlight += frames
  flow.socket.write(slice)
}

function receive(flow: LoadConnection, bytes: number): void {
  const from = flow.slot * FRAME_BYTES + flow.receivedBytes
  flow.receivedBytes += bytes
  if (flow.receivedBytes > flow.inFlight * FRAME_BYTES) fail('received more bytes than were sent')
  if (readBuffer.compare(flow.stream, from, from + bytes, 0, bytes) !== 0) {
    fail(`received wrong bytes: ${readBuffer.toString('hex', 0, Math.min(bytes, FRAME_BYTES))}`)
  }
  const frames = Math.floor(flow.receivedBytes / FRAME_BYTES)
  if (frames === 0) return
  const now = performance.now()
  for (let i = 0; i < frames; i++) {
    const us = Math.round((now - flow.sentAt[flow.slot]!) * 1_000)
    latencies[Math.min(us, MAX_US)]!++
    flow.slot = (flow.slot + 1) % inFlight
  }
  flow.receivedBytes -= frames * FRAME_BYTES
  flow.inFlight -= frames
  messages += frames
  if (isSending) send(flow, frames, now)
  else if (flows.every((each) => each.inFlight === 0)) drained.resolve()
}

function percentile(fraction: number): number {
  let remaining = Math.ceil(messages * fraction)
  for (let us = 0; us <= MAX_US; us++) {
    remaining -= latencies[us]!
    if (remaining <= 0) return us
  }
  return MAX_US
}

function fail(reason: string): never {
  console.error(`load: ${reason}`)
  process.exit(1)
}
