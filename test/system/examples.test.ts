// Every example behaves the same on both hosts. browser.test.ts tests the arena in a browser.

import assert from 'node:assert/strict'
import test from 'node:test'
import { connect, type Dial, type Firefly } from '../../client/index.ts'
import { dialWebSocket } from '../../client/socket.ts'
import { Account, Room } from '../../examples/conformance/contract.ts'
import { Arena } from '../../examples/arena/contract.ts'
import { Echo } from '../../examples/echo/contract.ts'
import { unpackWorld, type ShipDot } from '../../examples/arena/world.ts'
import { Hello } from '../../examples/hello/contract.ts'
import { startWorkers } from '../support/workers.ts'
import { exchangeFrames } from '../support/legacyclient.ts'
import { serve } from '../support/program.ts'
import { webSocketClient } from '../support/sockets.ts'
import { waitFor } from '../support/wait.ts'

interface RunningHost {
  readonly url: string
  stop(): Promise<unknown>
}
const HOSTS: Readonly<Record<string, (example: string) => Promise<RunningHost>>> = {
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

/** Resolves with the first event. */
function firstEvent<T>(listen: (listener: (data: T) => void) => unknown): Promise<T> {
  return new Promise((resolve) => void listen(resolve))
}

/** Dials WebSockets that can be cut; until `restore` no new one connects. */
function cuttableDialer(): { readonly dial: Dial; cut(): void; restore(): void } {
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
    restore: () => (isDown = false),
  }
}

/** Observes the pilot `nick` through the client `game`. */
function watchPilot(
  game: Firefly,
  nick: string,
): { ship(): ShipDot | undefined; away(): boolean; readonly events: string[] } {
  const events: string[] = []
  let ships: readonly ShipDot[] = []
  let pilots: readonly { readonly seat: number; readonly nick: string; readonly away: boolean }[] = []
  const arena = game.at(Arena)
  arena.on('world', (bytes) => (ships = unpackWorld(bytes).ships))
  arena.on('roster', (roster) => (pilots = roster.pilots))
  arena.on('joined', (pilot) => events.push(`joined ${pilot.nick}`))
  arena.on('left', (pilot) => events.push(`left ${pilot.nick}`))
  const entry = (): (typeof pilots)[number] | undefined => pilots.find((pilot) => pilot.nick === nick)
  return { ship: () => ships.find(({ seat }) => seat === entry()?.seat), away: () => entry()?.away ?? false, events }
}

/** One value of each type. */
const EVERY_VALUE = {
  ...{ u8: 255, u16: 65_535, u32: 4_294_967_295, i8: -128, i16: -32_768, i32: -2_147_483_648 },
  ...{ int: -(2 ** 40), f32: 1.5, f64: 0.1, i64: -(2n ** 63n), u64: 2n ** 64n - 1n, decimal: '-12.50' },
  ...{ date: new Date(1_234), bool: true, id: 'a-b', string: 'é', bytes: Uint8Array.of(0, 255), array: [1, 2] },
  ...{ record: { a: 1 }, object: { x: 1, y: -1 }, oneOf: 'green' as const, nullable: null },
}

const CHECKS: Readonly<Record<string, (game: Firefly, url: string) => Promise<void>>> = {
  hello: async (game) => {
    assert.deepEqual(await game.at(Hello).greet({ name: 'Ada' }), { text: 'Hello, Ada!' })
    await assert.rejects(game.at(Hello).greet({ name: 'x'.repeat(33) }), /input\.name: string of 33 characters/)
  },
  echo: async (game, url) => {
    const json = '{"text":"hi"}'
    const pack = Buffer.from('81a474657874a26869', 'hex')
    const event = firstEvent<Uint8Array>((listener) => game.at(Echo).on('heard', listener))
    assert.deepEqual(await game.at(Echo).raw(Uint8Array.of(1, 2, 3)), Uint8Array.of(1, 2, 3))
    const legacy = await webSocketClient(url)
    const sent = [
      [1, 'abc'],
      [4, 'no answer'],
      [2, json],
      [3, pack],
      [5, 'all'],
    ] as const
    const answers = await exchangeFrames(
      legacy,
      sent.map(([command, body]) => [command, Buffer.from(body)] as const),
      4,
    )
    const expected = [
      [1, 'abc'],
      [2, json],
      [3, pack],
      [50, 'all'],
    ] as const
    assert.deepEqual(
      answers,
      expected.map(([command, body]) => [command, Buffer.from(body)]),
    )
    legacy.close()
    // The SDK's session is a member of the shard too, so it receives the legacy client's broadcast.
    assert.equal(Buffer.from(await event).toString(), 'all')
  },
  conformance: async (game, url) => {
    const room = game.at(Room)
    const said = firstEvent<{ seat: number; text: string }>((listener) => room.on('said', listener))
    const { seat } = await room.join()
    room.say({ text: 'hi' })
    assert.deepEqual(await said, { seat, text: 'hi' })
    room.addLater({ amount: 1 })
    assert.deepEqual(await room.add({ amount: 2 }), { total: 3 })
    const fillers: number[] = []
    room.on('filler', (bytes) => fillers.push(bytes.length))
    await room.flood({ events: 20, size: 10 })
    await waitFor(() => fillers.length === 20, '20 events')
    const { record, ...echoed } = await room.echo(EVERY_VALUE)
    // A record has no prototype.
    assert.deepEqual({ ...echoed, record: { ...record } }, EVERY_VALUE)
    await assert.rejects(room.refuse(), { name: 'Refusal', code: 'NO' })
    await assert.rejects(room.reset(), { name: 'CallError', code: 'INTERNAL' })
    assert.deepEqual(await room.count(), { count: 1 })
    assert.deepEqual(await room.total(), { total: 3 })

    await using other = await connect(url)
    await other.at(Account).login({ uid: 'eve' })
    const notice = firstEvent<{ text: string }>((listener) => other.on(Account, 'notice', listener))
    await game.at(Account).notify({ uid: 'eve', text: 'hello' })
    assert.deepEqual(await notice, { text: 'hello' })
    const closed = firstEvent<{ code: string }>((listener) => other.on('closed', listener))
    await game.at(Account).kick({ uid: 'eve', reason: 'bye' })
    assert.equal((await closed).code, 'KICKED')
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
        await using game = await connect(running.url)
        await check(game, running.url)
      } finally {
        await running.stop()
      }
    })
  }
}

for (const [host, start] of Object.entries(HOSTS)) {
  test(`examples/arena on ${host}: a disconnected player's ship drifts and resumes with the same seat`, async () => {
    const running = await start('arena')
    try {
      const dialer = cuttableDialer()
      const ada = await connect(running.url, { dial: dialer.dial })
      const bob = await connect(running.url)
      const pilot = watchPilot(bob, 'Ada')
      await bob.at(Arena).enter({ nick: 'Bob' })
      const arena = ada.at(Arena)
      const { seat } = await arena.enter({ nick: 'Ada' })
      const states: string[] = []
      ada.on('paused', () => states.push('paused'))
      ada.on('resumed', () => states.push('resumed'))
      ada.on('resynced', () => states.push('resynced'))
      arena.steer({ turn: 1, thrust: true, fire: false })
      await waitFor(() => pilot.ship()?.thrust === true, 'Bob sees thrust of the ship of Ada')

      dialer.cut()
      await waitFor(() => pilot.away(), 'Bob sees Ada as away')
      // A destroyed ship has no thrust either, so the ship must be alive.
      await waitFor(() => pilot.ship()?.thrust === false && !pilot.ship()?.dead, 'the ship of Ada drifts')
      const worlds: number[] = []
      arena.on('world', (bytes) => worlds.push(unpackWorld(bytes).clock))
      dialer.restore()
      await waitFor(() => states.includes('resumed'), 'Ada has resumed')
      arena.steer({ turn: 1, thrust: true, fire: false })
      await waitFor(() => pilot.ship()?.thrust === true && !pilot.away(), 'Bob sees thrust again')
      assert.equal((await arena.enter({ nick: 'Ada' })).seat, seat)
      assert.deepEqual(states, ['paused', 'resumed'])
      assert.deepEqual(pilot.events, ['joined Ada'])
      assert.deepEqual(
        worlds,
        worlds.toSorted((a, b) => a - b),
      )
      await ada.close()
      await waitFor(() => pilot.events.includes('left Ada'), 'Bob receives that Ada has left')
      await bob.close()
    } finally {
      await running.stop()
    }
  })
}
