// Drill: players stay connected while their shard's object is reset. Real workerd, edge and core as two scripts;
// half the players speak legacy frames, half version 2. Each always has one durable call under way, so that a pause
// is the longest silence around a reset, and the shard's counter tells whether a call was lost or applied twice.

import { parseArgs } from 'node:util'

import { readU32 } from '../../core/wire/bytes.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../core/wire/frame.ts'
import {
  decodeOpened,
  encodeCall,
  encodeHello,
  encodeOpen,
  MESSAGE,
  REPLY_BYTES,
} from '../../core/wire/message.ts'
import { startWorkers } from '../support/workers.ts'

const { values } = parseArgs({
  options: { players: { type: 'string', default: '50' }, resets: { type: 'string', default: '5' } },
})
const players = Number(values.players)
const resets = Number(values.resets)

/** After an answer a player thinks for so long. */
const THINK_MS = 20
const BETWEEN_MS = 1_500
const ADD = 302
const CHANNEL = 1
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const one = new TextEncoder().encode('{"by":1}')

class Player {
  readonly #socket: WebSocket
  readonly #version2: boolean
  readonly #decoder: FrameDecoder
  #sequence = 0
  #opening = 0
  #waiting = false
  #stopped = false
  #lastMs = 0
  answers = 0
  closes = 0
  /** The longest silence since it was last asked. */
  pauseMs = 0
  done: () => void = () => {}

  constructor(url: string, version2: boolean) {
    this.#version2 = version2
    this.#socket = new WebSocket(url)
    this.#socket.binaryType = 'arraybuffer'
    this.#decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 65_536, (command, source, start, end) => {
      this.#frame(command, source, start, end)
    })
    this.#socket.onmessage = ({ data }) => void this.#decoder.push(new Uint8Array(data as ArrayBuffer))
    this.#socket.onclose = () => {
      this.closes++
      this.done()
    }
  }

  async start(): Promise<void> {
    await new Promise((resolve, reject) => {
      this.#socket.onopen = resolve
      this.#socket.onerror = reject
    })
    const none = new Uint8Array(0)
    if (this.#version2) {
      this.#say(
        MESSAGE.HELLO,
        encodeHello({ minVersion: 2, maxVersion: 2, session: new Uint8Array(16), ticket: none, token: none }),
      )
      this.#say(
        MESSAGE.OPEN,
        encodeOpen({ channel: CHANNEL, activation: 0, eventAck: 0, contract: 'drill', key: 'main' }),
      )
    }
    this.#next()
  }

  /** Resolves when the last call is answered. */
  stop(): Promise<void> {
    this.#stopped = true
    return new Promise((resolve) => {
      this.done = resolve
      if (!this.#waiting || this.closes > 0) resolve()
    })
  }

  takePause(): number {
    const pause = this.pauseMs
    this.pauseMs = 0
    return pause
  }

  close(): void {
    this.#socket.onclose = null
    this.#socket.close()
  }

  #next(): void {
    if (this.#stopped) return this.done()
    this.#sequence++
    this.#waiting = true
    this.#lastMs = performance.now()
    this.#send()
  }

  #send(): void {
    const sequence = this.#sequence
    if (!this.#version2) return this.#say(ADD, one)
    this.#say(
      MESSAGE.CALL,
      encodeCall(
        { channel: CHANNEL, sequence, replyAck: sequence - 1, opening: this.#opening, command: ADD },
        one,
      ),
    )
  }

  #say(command: number, body: Uint8Array): void {
    this.#socket.send(encodeFrame(identity, command, body) as Uint8Array<ArrayBuffer>)
  }

  #frame(command: number, source: Uint8Array, start: number, end: number): void {
    if (command === ADD) return this.#answered()
    if (command === MESSAGE.REPLY && end - start >= REPLY_BYTES) {
      if (readU32(source, start + 4) === this.#sequence) this.#answered()
    } else if (command === MESSAGE.OPENED) {
      const { lost, opening } = decodeOpened(source, start, end)
      this.#opening = opening
      if (lost && this.#waiting) this.#send()
    } else if (command === MESSAGE.PING) {
      this.#say(MESSAGE.PONG, source.slice(start, end))
    } else if (command === MESSAGE.ERROR) {
      throw new Error(`a player is refused: ${new TextDecoder().decode(source.subarray(start, end))}`)
    }
  }

  #answered(): void {
    this.answers++
    this.#waiting = false
    this.pauseMs = Math.max(this.pauseMs, performance.now() - this.#lastMs)
    setTimeout(() => this.#next(), THINK_MS)
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

await using workers = await startWorkers({
  entry: new URL('../conformance/fixtures/resetworker.ts', import.meta.url).pathname,
})
const all = Array.from({ length: players }, (_, i) => new Player(workers.url, i % 2 === 1))
await Promise.all(all.map((player) => player.start()))
await sleep(BETWEEN_MS)
for (const player of all) player.takePause()
await sleep(BETWEEN_MS)
const calm = Math.max(...all.map((player) => player.takePause()))

const pauses: number[] = []
for (let i = 0; i < resets; i++) {
  await workers.abortShard('drill', 'main')
  await sleep(BETWEEN_MS)
  for (const player of all) pauses.push(player.takePause())
}
await Promise.race([Promise.all(all.map((player) => player.stop())), sleep(10_000)])
pauses.sort((a, b) => a - b)

const answers = all.reduce((sum, player) => sum + player.answers, 0)
const disconnects = all.reduce((sum, player) => sum + player.closes, 0)
const [activation] = await workers.queryShard(
  'drill',
  'main',
  "SELECT value FROM meta WHERE name = 'activation'",
)
const [row] = await workers.queryShard(
  'drill',
  'main',
  "SELECT hex(value) AS total FROM kv WHERE name = 'total'",
)
const total = decodeTotal(String(row?.['total']))
for (const player of all) player.close()

const round = (ms: number | undefined): number => Math.round((ms ?? 0) * 10) / 10
const figure = {
  drill: 'reset',
  players,
  resets,
  activations: activation?.['value'],
  disconnects,
  answers,
  lost: Math.max(0, answers - total),
  twice: Math.max(0, total - answers),
  pauseMsCalm: round(calm),
  pauseMsP50: round(pauses[Math.floor(pauses.length / 2)]),
  pauseMsMax: round(pauses.at(-1)),
}
console.log(JSON.stringify(figure))
process.exitCode = disconnects === 0 && answers === total ? 0 : 1

/** A MessagePack unsigned integer, as hex. */
function decodeTotal(hex: string): number {
  const bytes = Buffer.from(hex, 'hex')
  if (bytes[0]! < 0x80) return bytes[0]!
  return bytes.readUIntBE(1, bytes.length - 1)
}
