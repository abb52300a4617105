// The well-behaved players beside the fuzzer, one of each age. Every answer is compared with what it must be: a wrong
// one, a missing one, a lost connection and an event out of order are faults.

import { setTimeout as sleep } from 'node:timers/promises'

import { connect } from '../../../client/index.ts'
import { encodeFrame } from '../../../core/wire/frame.ts'
import { identity } from './cases.ts'
import { Text, Witness } from './contract.ts'
import { mirrored } from './game.ts'
import { Socket } from './socket.ts'

const THINK_MS = 5
/** Far above what a loaded machine does to an answer. */
const PATIENCE_MS = 10_000

export interface Player {
  readonly answers: number
  readonly faults: readonly string[]
  /** Resolves when its last answer has come, and it has left. */
  stop(): Promise<void>
}

/** Speaks version 2 over WebSocket, to a shard that nobody else knows. */
export class SessionPlayer implements Player {
  answers = 0
  readonly faults: string[] = []
  #isStopping = false
  readonly #over: Promise<void>

  constructor(port: number, key: string) {
    this.#over = this.#play(port, key).catch(
      (error: unknown) => void this.faults.push(`v2: ${String(error)}`),
    )
  }

  stop(): Promise<void> {
    this.#isStopping = true
    return this.#over
  }

  async #play(port: number, key: string): Promise<void> {
    await using session = await connect(`ws://127.0.0.1:${port}/ws`, { timeoutMs: PATIENCE_MS })
    session.on('state', (state) => {
      if (state === 'paused') this.faults.push('v2: lost its connection')
    })
    const shard = session.at(Witness, key)
    let told = 0
    shard.on('told', ({ count }) => {
      if (count !== ++told) this.faults.push(`v2: event ${count} came where ${told} was due`)
    })
    shard.onClose((code) => {
      if (!this.#isStopping) this.faults.push(`v2: its channel was closed: ${code}`)
    })
    let sum = 0
    for (let n = 1; !this.#isStopping; n++) {
      const text = `question ${n} 💥`
      const answer = await shard.ask({ n, text })
      this.#check(answer, { n: n + 1, text: mirrored(text), count: n })
      if (n % 16 === 0) this.#check(await shard.keep({ n }), { sum: (sum += n) })
      await sleep(THINK_MS)
    }
  }

  #check(got: object, due: object): void {
    this.answers++
    const [a, b] = [JSON.stringify(got), JSON.stringify(due)]
    if (a !== b) this.faults.push(`v2: ${a} came where ${b} was due`)
  }
}

/** Speaks legacy frames of JSON over TCP, to the same shard as the fuzzer. */
export class LegacyPlayer implements Player {
  answers = 0
  readonly faults: string[] = []
  #isStopping = false
  #heard: ((body: string) => void) | null = null
  readonly #over: Promise<void>
  readonly #socket: Socket

  constructor(port: number) {
    this.#socket = new Socket('tcp', port, {
      frame: (command, source, start, end) => {
        if (command !== Text.entries.mirror.number)
          this.faults.push(`legacy: command ${command} was not asked`)
        else this.#heard?.(Buffer.from(source.subarray(start, end)).toString())
      },
      fault: (what) => this.faults.push(`legacy: ${what}`),
      lingered: () => {},
      closed: () => {
        if (!this.#isStopping) this.faults.push('legacy: its connection was closed')
        this.#heard?.('closed')
      },
    })
    this.#over = this.#play()
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#over
    this.#socket.end()
  }

  async #play(): Promise<void> {
    for (let n = 1; !this.#isStopping && !this.#socket.isOver; n++) {
      const text = `frage ${n}`
      const answer = new Promise<string>((resolve) => (this.#heard = resolve))
      const body = Buffer.from(JSON.stringify({ n, text }))
      this.#socket.write(encodeFrame(identity, Text.entries.mirror.number, body))
      const patience = new AbortController()
      const late = sleep(PATIENCE_MS, 'nothing', { signal: patience.signal }).catch(() => '')
      const got = await Promise.race([answer, late])
      patience.abort()
      const due = JSON.stringify({ n: n + 1, text: mirrored(text) })
      this.answers++
      if (got !== due) this.faults.push(`legacy: ${got} came where ${due} was due`)
      await sleep(THINK_MS)
    }
  }
}
