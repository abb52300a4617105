// The well-behaved players beside the fuzzer, one of each protocol. Invariant: a wrong answer, a missing answer, a lost
// connection and an event out of order are faults.

import { setTimeout as sleep } from 'node:timers/promises'

import { connect } from '../../../client/index.ts'
import { encodeFrame } from '../../../core/wire/frame.ts'
import { withDeadline } from '../../support/wait.ts'
import { identity } from './arbitraries/cases.ts'
import { ControlContract, Text } from './contract.ts'
import { reversed } from './game.ts'
import { RawSocket } from './socket.ts'

const THINK_MS = 5
/** Much longer than a loaded machine delays an answer. */
const TIMEOUT_MS = 10_000
/** Questions per durable call. */
const DURABLE_EVERY = 16

/** A connection that asks question `n` and checks its answer. */
interface Questions extends AsyncDisposable {
  ask(n: number): Promise<void>
}

export class ControlPlayer {
  answers = 0
  readonly faults: string[] = []
  isStopping = false
  readonly #protocol: string
  readonly #ended: Promise<void>

  constructor(protocol: string, open: (player: ControlPlayer) => Promise<Questions>) {
    this.#protocol = protocol
    this.#ended = this.#play(open).catch((error: unknown) => this.fault(String(error)))
  }

  /** Resolves when the last answer has arrived and the connection is closed. */
  stop(): Promise<void> {
    this.isStopping = true
    return this.#ended
  }

  async #play(open: (player: ControlPlayer) => Promise<Questions>): Promise<void> {
    await using questions = await open(this)
    for (let n = 1; !this.isStopping; n++) {
      await questions.ask(n)
      await sleep(THINK_MS)
    }
  }

  check(actual: object | string | null, expected: object): void {
    this.answers++
    const [a, b] = [typeof actual === 'string' ? actual : JSON.stringify(actual), JSON.stringify(expected)]
    if (a !== b) this.fault(`${a} instead of ${b}`)
  }

  fault(what: string): void {
    this.faults.push(`${this.#protocol}: ${what}`)
  }
}

/** Uses the SDK over WebSocket, and a shard that no other client knows. */
export function sessionPlayer(port: number, key: string): ControlPlayer {
  return new ControlPlayer('v2', async (player) => {
    const session = await connect(`ws://127.0.0.1:${port}/ws`, { timeoutMs: TIMEOUT_MS })
    session.on('state', (state) => {
      if (state === 'paused') player.fault('its connection was lost')
    })
    const shard = session.at(ControlContract, key)
    let events = 0
    shard.on('counted', ({ count }) => {
      if (count !== ++events) player.fault(`event ${count} instead of ${events}`)
    })
    shard.onClose((code) => {
      if (!player.isStopping) player.fault(`its channel was closed: ${code}`)
    })
    let sum = 0
    return {
      ask: async (n) => {
        const text = `question ${n} 💥`
        player.check(await shard.ask({ n, text }), { n: n + 1, text: reversed(text), count: n })
        if (n % DURABLE_EVERY === 0) player.check(await shard.keep({ n }), { sum: (sum += n) })
      },
      [Symbol.asyncDispose]: () => session.close(),
    }
  })
}

/** Sends legacy frames of JSON over TCP, to the same shard as the fuzzer. */
export function legacyPlayer(port: number): ControlPlayer {
  return new ControlPlayer('legacy', (player) => {
    const { number } = Text.entries.mirror
    let onAnswer: (body: string) => void = () => {}
    const socket = new RawSocket('tcp', port, {
      frame: (command, source, start, end) => {
        if (command === number) onAnswer(Buffer.from(source.subarray(start, end)).toString())
        else player.fault(`command ${command} without a question`)
      },
      fault: (what) => player.fault(what),
      slowClose: () => {},
      closed: () => onAnswer('closed'),
    })
    return Promise.resolve({
      ask: async (n) => {
        if (socket.isOver) throw new Error('its connection was closed')
        const text = `frage ${n}`
        const answer = new Promise<string>((resolve) => (onAnswer = resolve))
        socket.write(encodeFrame(identity, number, Buffer.from(JSON.stringify({ n, text }))))
        player.check(await withDeadline(answer, TIMEOUT_MS), { n: n + 1, text: reversed(text) })
      },
      [Symbol.asyncDispose]: () => Promise.resolve(socket.end()),
    })
  })
}
