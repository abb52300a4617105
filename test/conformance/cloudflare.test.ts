// The Cloudflare host in real workerd: what a player keeps when objects are reset, sleep or are replaced.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { WebSocket } from 'ws'

import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { decodeOpened, decodeWelcome, encodeHello, encodeOpen, MESSAGE } from '../../core/wire/message.ts'
import { startWorkers, type Workers } from '../support/workers.ts'

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const EMPTY_BYTES = new Uint8Array(0)
let workers: Workers
before(async () => {
  workers = await startWorkers({ entry: new URL('./fixtures/resetworker.ts', import.meta.url).pathname })
})
after(() => workers.close())

/** One client that keeps what it hears. */
class LegacyClient {
  readonly socket: WebSocket
  readonly frames: { command: number; body: Uint8Array }[] = []
  closeCode: number | null = null
  #wakeReader: (() => void) | null = null

  private constructor(socket: WebSocket) {
    this.socket = socket
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 65_536, (command, source, start, end) => {
      this.frames.push({ command, body: source.slice(start, end) })
    })
    socket.on('message', (data) => {
      decoder.push(new Uint8Array(data as Buffer))
      this.#wakeReader?.()
    })
    socket.on('close', (code) => {
      this.closeCode = code
      this.#wakeReader?.()
    })
    socket.on('error', () => {})
  }

  static async open(): Promise<LegacyClient> {
    const socket = new WebSocket(workers.url)
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    return new LegacyClient(socket)
  }

  send(command: number, body: Uint8Array | object): void {
    const bytes = body instanceof Uint8Array ? body : new TextEncoder().encode(JSON.stringify(body))
    this.socket.send(encodeFrame(identity, command, bytes))
  }

  /** The next frame of that command, taken out of what was heard. */
  async nextFrame(command: number, ms = 5_000): Promise<Uint8Array> {
    const deadlineMs = Date.now() + ms
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.command === command)
      if (at >= 0) return this.frames.splice(at, 1)[0]!.body
      if (this.closeCode !== null) throw new Error(`closed with ${this.closeCode} before ${command}`)
      if (Date.now() > deadlineMs) throw new Error(`no ${command} in ${ms} ms; logs: ${workers.logs().join('\n')}`)
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve
        setTimeout(resolve, 50)
      })
    }
  }

  async call(command: number, body: object): Promise<Record<string, unknown>> {
    this.send(command, body)
    return JSON.parse(new TextDecoder().decode(await this.nextFrame(command))) as Record<string, unknown>
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

test('a legacy client is answered and keeps its socket, seat and durable state over a reset', async () => {
  const client = await LegacyClient.open()
  const { seat } = await client.call(301, {})
  const { total } = await client.call(302, { by: 5 })
  await workers.abortShard('drill', 'main')
  assert.deepEqual(await client.call(302, { by: 2 }), { total: (total as number) + 2 })
  client.send(304, { text: 'still here' })
  const said = JSON.parse(new TextDecoder().decode(await client.nextFrame(350))) as unknown
  assert.deepEqual(said, { seat, text: 'still here' })
  client.socket.close()
})

test('an object that hibernated has its members back before the call that wakes it', async () => {
  const [a, b] = [await LegacyClient.open(), await LegacyClient.open()]
  const first = await a.call(301, {})
  const second = await b.call(301, {})
  await workers.evictShard('drill', 'main')
  const { size } = await a.call(303, { text: 'awake' })
  assert.equal(size, second['size'])
  assert.notEqual(first['seat'], second['seat'])
  b.send(304, { text: 'hello' })
  assert.match(new TextDecoder().decode(await a.nextFrame(350)), /hello/)
  for (const client of [a, b]) client.socket.close()
})

test('a durable timer wakes an object that sleeps', async () => {
  const client = await LegacyClient.open()
  await client.call(301, {})
  await client.call(305, { ms: 800 })
  await workers.evictShard('drill', 'main')
  assert.match(new TextDecoder().decode(await client.nextFrame(350)), /bump/)
  assert.deepEqual(await workers.queryShard('drill', 'main', 'SELECT name FROM timers'), [])
  client.socket.close()
})

test('a shard calls another shard', async () => {
  const client = await LegacyClient.open()
  assert.deepEqual(await client.call(306, { key: 'peer', by: 3 }), { total: 3 })
  await workers.abortShard('drill', 'peer')
  assert.deepEqual(await client.call(306, { key: 'peer', by: 4 }), { total: 7 })
  client.socket.close()
})

test('a snapshot larger than a row comes back in one piece', async () => {
  const client = await LegacyClient.open()
  await client.call(308, { bytes: 3_000_000 })
  await sleep(300)
  assert.equal((await workers.queryShard('drill', 'main', 'SELECT count(*) AS n FROM snapshot'))[0]?.['n'], 3)
  await workers.abortShard('drill', 'main')
  assert.deepEqual(await client.call(308, { bytes: 0 }), { saved: 3_000_000 })
  client.socket.close()
})

test('a version 2 client hears the new activation after a reset, and that calls may be lost', async () => {
  const client = await LegacyClient.open()
  client.send(
    MESSAGE.HELLO,
    encodeHello({
      minVersion: 2,
      maxVersion: 2,
      session: new Uint8Array(16),
      ticket: EMPTY_BYTES,
      token: EMPTY_BYTES,
    }),
  )
  await client.nextFrame(MESSAGE.WELCOME)
  client.send(MESSAGE.OPEN, encodeOpen({ channel: 9, activation: 0, eventAck: 0, contract: 'drill', key: 'v2' }))
  const first = await client.nextFrame(MESSAGE.OPENED)
  assert.deepEqual(decodeOpened(first, 0, first.length), {
    channel: 9,
    activation: 1,
    mark: 0,
    opening: 1,
    lost: false,
  })
  await workers.abortShard('drill', 'v2')
  const again = await client.nextFrame(MESSAGE.OPENED)
  assert.deepEqual(decodeOpened(again, 0, again.length), {
    channel: 9,
    activation: 2,
    mark: 0,
    opening: 2,
    lost: true,
  })
  client.socket.close()
})

test('a session that arrives on a newer connection takes its channel over, and the old one does not fight', async () => {
  const open = encodeOpen({ channel: 1, activation: 0, eventAck: 0, contract: 'drill', key: 'takeover' })
  const [old, young] = [await LegacyClient.open(), await LegacyClient.open()]
  let [session, token] = [new Uint8Array(16) as Uint8Array, EMPTY_BYTES as Uint8Array]
  for (const client of [old, young]) {
    client.send(MESSAGE.HELLO, encodeHello({ minVersion: 2, maxVersion: 2, session, ticket: EMPTY_BYTES, token }))
    const welcome = await client.nextFrame(MESSAGE.WELCOME)
    ;({ session, token } = decodeWelcome(welcome, 0, welcome.length))
    client.send(MESSAGE.OPEN, open)
    await client.nextFrame(MESSAGE.OPENED)
  }
  while (old.closeCode === null) await sleep(10)
  assert.equal(old.closeCode, 4001)
  assert.deepEqual(
    young.frames.filter(({ command }) => command === MESSAGE.CLOSE),
    [],
  )
  for (const client of [old, young]) client.socket.close()
})

test('a wrong frame closes the socket, a wrong path is answered', async () => {
  const client = await LegacyClient.open()
  client.socket.send(new Uint8Array(17).fill(1))
  await sleep(300)
  assert.equal(client.closeCode, 1002)
  assert.equal((await fetch(`${workers.http}metrics`)).status, 404)
  assert.equal((await fetch(`${workers.http}ws`)).status, 426)
})
