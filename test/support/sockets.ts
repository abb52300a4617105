// Clients on real sockets and real time, for the hosts that have them.

import { connect as connectTcp } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { DEFAULT_FRAME_IDENTITY, FrameDecoder } from '../../core/wire/frame.ts'
import type { RawClient } from '../conformance/host.ts'

const MAX_FRAME_BYTES = 1 << 24
const TIMEOUT_MS = 10_000

export async function waitUntil(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + TIMEOUT_MS
  for (let i = 0; !condition(); i++) {
    if (performance.now() > deadlineMs) throw new Error(`never came within ${TIMEOUT_MS} ms: ${what}`)
    await (i < 100 ? new Promise(setImmediate) : sleep(2))
  }
}

export async function sleepRealTime(ms: number): Promise<void> {
  await sleep(ms)
}

interface FrameCollector {
  readonly frames: RawClient['frames']
  readonly receive: (bytes: Uint8Array) => void
}
function collectFrames(): FrameCollector {
  const frames: RawClient['frames'] = []
  const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX_FRAME_BYTES, (command, source, start, end) => {
    frames.push({ command, body: new Uint8Array(source.subarray(start, end)) })
  })
  return { frames, receive: (bytes) => void decoder.push(bytes) }
}

/** Each send is written as it is; the kernel may still join what is sent quickly. */
export function tcpClient(host: string, port: number): Promise<RawClient> {
  const { frames, receive } = collectFrames()
  let closed = false
  const socket = connectTcp({ host, port, noDelay: true })
  socket.on('data', receive)
  socket.on('close', () => (closed = true))
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('connect', () =>
      resolve({
        frames,
        get isClosed() {
          return closed
        },
        send: (bytes) => void socket.write(bytes),
        close: () => socket.destroy(),
      }),
    )
  })
}

/** Each send is one binary message. */
export function webSocketClient(url: string): Promise<RawClient> {
  const { frames, receive } = collectFrames()
  let closed = false
  const socket = new WebSocket(url)
  socket.binaryType = 'arraybuffer'
  socket.onmessage = ({ data }) => receive(new Uint8Array(data as ArrayBuffer))
  socket.onclose = () => (closed = true)
  return new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error(`no WebSocket at ${url}`))
    socket.onopen = () =>
      resolve({
        frames,
        get isClosed() {
          return closed
        },
        send: (bytes) => socket.send(bytes as Uint8Array<ArrayBuffer>),
        close: () => socket.close(),
      })
  })
}
