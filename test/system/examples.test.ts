// Every example runs on both hosts and behaves the same; the arena's players are in browser.test.ts.

import assert from 'node:assert/strict'
import test from 'node:test'
import { connect, type Firefly } from '../../client/index.ts'
import { DEFAULT_IDENTITY, encodeFrame, FrameDecoder, identityBytes } from '../../core/wire/frame.ts'
import { Arena } from '../../examples/arena/contract.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { Hello } from '../../examples/hello/contract.ts'
import { startWorkers } from '../conformance/harness-worker.ts'
import { serve } from './program.ts'

interface Running {
  readonly url: string
  stop(): Promise<unknown>
}
const HOSTS: Readonly<Record<string, (example: string) => Promise<Running>>> = {
  node: async (example) => {
    const program = await serve(`examples/${example}`)
    return { url: `${program.http.replace('http', 'ws')}/ws`, stop: () => program.stop() }
  },
  workerd: async (example) => {
    const entry = new URL(`../../examples/${example}/worker.ts`, import.meta.url).pathname
    const workers = await startWorkers({ entry })
    return { url: workers.url, stop: () => workers.close() }
  },
}

/** A legacy client over WebSocket: sends frames, resolves with the answers once `count` are there. */
function legacy(
  url: string,
  frames: readonly [number, Uint8Array][],
  count: number,
): Promise<[number, string][]> {
  return new Promise((resolve, reject) => {
    const answers: [number, string][] = []
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    const decoder = new FrameDecoder(DEFAULT_IDENTITY, 1 << 20, (command, source, start, end) => {
      answers.push([command, Buffer.from(source.slice(start, end)).toString()])
    })
    socket.onopen = () => {
      for (const [command, body] of frames) {
        socket.send(encodeFrame(identityBytes(DEFAULT_IDENTITY), command, body) as Uint8Array<ArrayBuffer>)
      }
    }
    socket.onmessage = ({ data }) => {
      decoder.push(new Uint8Array(data as ArrayBuffer))
      if (answers.length < count) return
      socket.close()
      resolve(answers)
    }
    socket.onerror = () => reject(new Error(`no connection to ${url}`))
    socket.onclose = ({ reason }) => reject(new Error(`closed: ${reason}`))
  })
}

/** Resolves with the first event of that name. */
function first<T>(listen: (listener: (data: T) => void) => unknown): Promise<T> {
  return new Promise((resolve) => void listen(resolve))
}

const CHECKS: Readonly<Record<string, (game: Firefly, url: string) => Promise<void>>> = {
  hello: async (game) => {
    assert.deepEqual(await game.at(Hello).greet({ name: 'Ada' }), { text: 'Hello, Ada!' })
    await assert.rejects(
      game.at(Hello).greet({ name: 'x'.repeat(33) }),
      /input\.name: string of 33 characters/,
    )
  },
  echo: async (game, url) => {
    const json = '{"text":"hi"}'
    const pack = Buffer.from('81a474657874a26869', 'hex')
    const heard = first<Uint8Array>((listener) => game.at(Echo).on('heard', listener))
    assert.deepEqual(await game.at(Echo).raw(Uint8Array.of(1, 2, 3)), Uint8Array.of(1, 2, 3))
    const answers = await legacy(
      url,
      [
        [1, Buffer.from('abc')],
        [4, Buffer.from('no answer')],
        [2, Buffer.from(json)],
        [3, pack],
        [5, Buffer.from('all')],
      ],
      4,
    )
    assert.deepEqual(answers, [
      [1, 'abc'],
      [2, json],
      [3, pack.toString()],
      [50, 'all'],
    ])
    // The SDK's session has spoken to the shard as well, so it hears the legacy client.
    assert.equal(Buffer.from(await heard).toString(), 'all')
  },
  arena: async (game) => {
    const world = first<Uint8Array>((listener) => game.at(Arena).on('world', listener))
    const entered = await game.at(Arena).enter({ nick: 'Ada' })
    assert.ok(entered.width > 0 && entered.height > 0)
    assert.ok((await world).length > 0)
  },
}

for (const [host, start] of Object.entries(HOSTS)) {
  for (const [example, check] of Object.entries(CHECKS)) {
    test(`examples/${example} on ${host}`, async () => {
      const running = await start(example)
      try {
        const game = await connect(running.url)
        await check(game, running.url)
        await game.close()
      } finally {
        await running.stop()
      }
    })
  }
}
