// Every example runs on both hosts and behaves the same; the arena's players are in browser.test.ts.

import assert from 'node:assert/strict'
import test from 'node:test'
import { connect, type Dial, type Firefly } from '../../client/index.ts'
import { dialWebSocket } from '../../client/socket.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../core/wire/frame.ts'
import { Arena } from '../../examples/arena/contract.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { unpackWorld, type ShipDot } from '../../examples/arena/world.ts'
import { Hello } from '../../examples/hello/contract.ts'
import { startWorkers } from '../support/workers.ts'
import { serve } from '../support/program.ts'

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
function askLegacy(
  url: string,
  frames: readonly [number, Uint8Array][],
  count: number,
): Promise<[number, string][]> {
  return new Promise((resolve, reject) => {
    const answers: [number, string][] = []
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 20, (command, source, start, end) => {
      answers.push([command, Buffer.from(source.slice(start, end)).toString()])
    })
    socket.onopen = () => {
      for (const [command, body] of frames) {
        socket.send(
          encodeFrame(frameIdentityBytes(DEFAULT_FRAME_IDENTITY), command, body) as Uint8Array<ArrayBuffer>,
        )
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
function firstEvent<T>(listen: (listener: (data: T) => void) => unknown): Promise<T> {
  return new Promise((resolve) => void listen(resolve))
}

/** A WebSocket that can be taken away; while it is, no other is to be had. */
function cuttableDialer(): { readonly dial: Dial; cut(): void; mend(): void } {
  let isDown = false
  let socket: { close(): void } | null = null
  return {
    dial: (address, events) => {
      if (!isDown) return (socket = dialWebSocket(address, events))
      queueMicrotask(() => events.closed('the test allows no connection'))
      return { send: () => undefined, close: () => undefined }
    },
    cut: () => {
      isDown = true
      socket?.close()
    },
    mend: () => (isDown = false),
  }
}

/** What a pilot sees of another. */
function watchPilot(
  game: Firefly,
  nick: string,
): { ship(): ShipDot | undefined; away(): boolean; said: string[] } {
  const said: string[] = []
  let ships: readonly ShipDot[] = []
  let pilots: readonly { readonly seat: number; readonly nick: string; readonly away: boolean }[] = []
  const arena = game.at(Arena)
  arena.on('world', (bytes) => (ships = unpackWorld(bytes).ships))
  arena.on('roster', (roster) => (pilots = roster.pilots))
  arena.on('joined', (who) => said.push(`joined ${who.nick}`))
  arena.on('left', (who) => said.push(`left ${who.nick}`))
  const line = (): (typeof pilots)[number] | undefined => pilots.find((pilot) => pilot.nick === nick)
  return {
    ship: () => ships.find(({ seat }) => seat === line()?.seat),
    away: () => line()?.away ?? false,
    said,
  }
}

async function waitUntil(done: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 20_000; !done(); await new Promise((resolve) => setTimeout(resolve, 5)))
    if (Date.now() > end) throw new Error(`never came: ${what}`)
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
    const heard = firstEvent<Uint8Array>((listener) => game.at(Echo).on('heard', listener))
    assert.deepEqual(await game.at(Echo).raw(Uint8Array.of(1, 2, 3)), Uint8Array.of(1, 2, 3))
    const answers = await askLegacy(
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
    const world = firstEvent<Uint8Array>((listener) => game.at(Arena).on('world', listener))
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

for (const [host, start] of Object.entries(HOSTS)) {
  test(`examples/arena on ${host}: who loses the connection drifts, keeps the seat and flies on`, async () => {
    const running = await start('arena')
    try {
      const wire = cuttableDialer()
      const ada = await connect(running.url, { dial: wire.dial })
      const bob = await connect(running.url)
      const seen = watchPilot(bob, 'Ada')
      await bob.at(Arena).enter({ nick: 'Bob' })
      const arena = ada.at(Arena)
      const { seat } = await arena.enter({ nick: 'Ada' })
      const states: string[] = []
      ada.on('paused', () => states.push('paused'))
      ada.on('resumed', () => states.push('resumed'))
      ada.on('resynced', () => states.push('resynced'))
      arena.steer({ turn: 1, thrust: true, fire: false })
      await waitUntil(() => seen.ship()?.thrust === true, 'Bob sees how Ada flies')

      wire.cut()
      await waitUntil(() => seen.away(), 'Bob reads that Ada is away')
      // A ship that is shot has no thrust either, but a pilot who is there would have it again.
      await waitUntil(() => seen.ship()?.thrust === false && !seen.ship()?.dead, 'her ship drifts')
      const worlds: number[] = []
      arena.on('world', (bytes) => worlds.push(unpackWorld(bytes).clock))
      wire.mend()
      await waitUntil(() => states.includes('resumed'), 'Ada is back')
      arena.steer({ turn: 1, thrust: true, fire: false })
      await waitUntil(() => seen.ship()?.thrust === true && !seen.away(), 'Bob sees Ada fly again')
      assert.equal((await arena.enter({ nick: 'Ada' })).seat, seat)
      assert.deepEqual(states, ['paused', 'resumed'])
      assert.deepEqual(seen.said, ['joined Ada'])
      assert.deepEqual(
        worlds,
        worlds.toSorted((a, b) => a - b),
      )
      await ada.close()
      await waitUntil(() => seen.said.includes('left Ada'), 'Bob hears that Ada has left')
      await bob.close()
    } finally {
      await running.stop()
    }
  })
}
