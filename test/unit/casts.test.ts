// Durable casts behind a path that loses, delays and refuses, and a clock that goes back: every cast takes effect once.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import type { PeerAnswer } from '../../core/ports/directory.ts'
import type { StoredCast } from '../../core/ports/store.ts'
import { decodeCastAnswer, encodeCastAnswer } from '../../core/turn/castreceiver.ts'
import { msgpack } from '../../core/wire/codec.ts'

const Till = contract('till', {
  pay: command(1, { to: t.string(9), n: t.array(t.u32, 99) }, {}),
  take: command(2, { n: t.u32 }, { sum: t.u32 }, { durable: true }),
})
/** What a delivery comes to, given the delivery itself. */
type DeliveryPath = (cast: StoredCast, deliver: () => Promise<PeerAnswer>) => Promise<PeerAnswer>
const NEVER_SETTLES = new Promise<never>(() => {})
const UNAVAILABLE = Promise.resolve({ kind: 'system', code: 'UNAVAILABLE', message: '' } as const)

class SkewedClock extends ManualClock {
  skewMs = 0
  override now(): number {
    return super.now() + this.skewMs
  }
}

/** Two tills, `a` and `b`, and what happened to them. */
function createFixture({ path = (_cast, deliver) => deliver(), hookFails = 0, maxCasts = 99 }: Options = {}) {
  const [clock, store, log] = [new SkewedClock(), new MemoryStore(), new MemoryLog()]
  const receivedAnswers: string[] = []
  const takenAmounts: number[] = []
  let fails = hookFails
  const till = shard(Till)
    .kv({ sum: t.u32 })
    .answer('paid', { n: t.u32 }, (_c, { n }, answer) => {
      if (fails-- > 0) throw new Error('the bug of the test')
      receivedAnswers.push(`${n} ${answer.ok ? JSON.stringify(answer.output) : answer.code}`)
    })
    .on('pay', (c, { to, n: all }) => {
      for (const n of all) c.at(Till, to).cast.take({ n }, { answer: 'paid', data: { n } })
      return {}
    })
    .on('take', (c, { n }) => {
      const sum = (c.kv.get('sum') ?? 0) + n
      c.kv.set('sum', sum)
      takenAmounts.push(n)
      return { sum }
    })
  const engine: Engine = new Engine(
    firefly({ till }),
    {
      clock,
      store,
      log,
      directory: {
        peer: (id) => ({
          call: (call) => engine.receiveCall(id, call),
          cast: () => assert.fail('no volatile casts here'),
          deliver: (sender, cast) => path(cast, () => engine.receiveDurableCast(id, sender, cast)),
        }),
      },
    },
    { limits: { maxCasts } },
  )
  const pay = (...n: number[]): Promise<PeerAnswer> => {
    const body = msgpack.encode({ to: 'b', n })
    return engine.receiveCall({ contract: 'till', key: 'a' }, { command: 1, body, chain: [], deadlineMs: 0 })
  }
  const restart = (key: string): void => engine.shard({ contract: 'till', key }).restart()
  /** Lets time pass, and with it all that waits for it. */
  const advance = async (ms: number): Promise<void> => {
    for (let left = ms; left >= 0; left -= 10) {
      await new Promise(setImmediate)
      clock.advance(Math.min(10, left))
    }
    await new Promise(setImmediate)
  }
  return { clock, engine, log, heard: receivedAnswers, took: takenAmounts, pay, restart, pass: advance }
}
interface Options {
  readonly path?: DeliveryPath
  readonly hookFails?: number
  readonly maxCasts?: number
}

test('lives of a sender within one moment never give two casts the same number', async () => {
  const { heard, took, pay, restart, pass } = createFixture()
  for (const n of [[1], [2], [3, 4], [5], [6, 7, 8], [9]]) {
    await pay(...n)
    await new Promise(setImmediate)
    restart('a')
  }
  await pass(0)
  assert.deepEqual(took, [1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.equal(heard.length, 9)
})

test('a sender whose clock went back numbers its casts anew, and each takes effect once, in order', async () => {
  const { clock, heard, took, pay, restart, pass } = createFixture()
  await pay(1)
  await pass(0)
  clock.skewMs = -31_536_000_000
  for (const key of ['a', 'b']) restart(key)
  await pay(2, 3, 4)
  await pay(5)
  await pass(100)
  assert.deepEqual(took, [1, 2, 3, 4, 5])
  assert.deepEqual(heard, ['1 {"sum":1}', '2 {"sum":3}', '3 {"sum":6}', '4 {"sum":10}', '5 {"sum":15}'])
})

test('casts of a life whose clock went back stand behind those that an earlier life has left', async () => {
  let open = false
  const path: DeliveryPath = (_cast, deliver) => (open ? deliver() : UNAVAILABLE)
  const { clock, took, pay, restart, pass } = createFixture({ path })
  await pay(1)
  clock.skewMs = -31_536_000_000
  restart('a')
  await pay(2)
  restart('a')
  open = true
  await pay(3)
  await pass(1_000)
  assert.deepEqual(took, [1, 2, 3])
})

test('what was not done is delivered again, and an answer that comes late is heard though its hook throws', async () => {
  for (const code of ['UNAVAILABLE', 'OVERLOADED', 'DEADLINE', 'RETRY_LATER', 'SHARD_RESTARTED']) {
    let refusals = 8
    const path: DeliveryPath = async (_cast, deliver) =>
      refusals-- > 0 ? { kind: 'system', code, message: '' } : deliver()
    const { heard, took, pay, pass, engine } = createFixture({ path, hookFails: 2 })
    await pay(7)
    await pass(80_000)
    assert.deepEqual([took, heard, engine.meter.castRetries], [[7], ['7 {"sum":7}'], 10], code)
  }
})

test('a delivery that is never answered is made again, and so is one whose path breaks', async () => {
  let tries = 0
  const path: DeliveryPath = (_cast, deliver) => {
    tries++
    if (tries === 1) return NEVER_SETTLES
    if (tries === 2) return Promise.reject(new Error('the path broke'))
    // It is taken, and its answer is lost.
    if (tries === 3) return deliver().then(() => NEVER_SETTLES)
    return deliver()
  }
  const { heard, took, pay, pass } = createFixture({ path })
  await pay(7)
  await pass(60_000)
  assert.deepEqual([took, heard, tries], [[7], ['7 {"sum":7}'], 4])
})

test('an answer that comes after its delivery was made again is not acted on twice', async () => {
  const late: (() => void)[] = []
  const path: DeliveryPath = async (_cast, deliver) => {
    const answer = await deliver()
    if (late.length === 0) await new Promise<void>((resolve) => late.push(resolve))
    return answer
  }
  const { heard, took, pay, pass } = createFixture({ path })
  await pay(1, 2)
  await pass(11_000)
  for (const come of late) come()
  await pass(11_000)
  assert.deepEqual(
    [took, heard],
    [
      [1, 2],
      ['1 {"sum":1}', '2 {"sum":3}'],
    ],
  )
})

test('a delivery that arrives when those behind it were taken is not taken again', async () => {
  const late: (() => void)[] = []
  const path: DeliveryPath = (_cast, deliver) => {
    if (late.length > 0) return deliver()
    return new Promise((resolve) => late.push(() => void deliver().then(resolve)))
  }
  const { heard, took, pay, pass } = createFixture({ path })
  await pay(1, 2)
  await pass(11_000)
  for (const come of late) come()
  await pass(11_000)
  assert.deepEqual(
    [took, heard],
    [
      [1, 2],
      ['1 {"sum":1}', '2 {"sum":3}'],
    ],
  )
})

test('an answer that comes to a life that is over is not acted on; the next life is answered again', async () => {
  let go: () => void = () => {}
  const path: DeliveryPath = async (_cast, deliver) => {
    const answer = await deliver()
    await new Promise<void>((resolve) => (go = resolve))
    return answer
  }
  const { engine, heard, took, pay, restart, pass } = createFixture({ path })
  await pay(7)
  await pass(0)
  const early = go
  restart('a')
  early()
  await pass(50)
  assert.deepEqual([took, heard], [[7], []])
  // Nobody speaks to it: its host wakes it.
  engine.wake({ contract: 'till', key: 'a' })
  await pass(0)
  go()
  await pass(50)
  assert.deepEqual([took, heard], [[7], ['7 {"sum":7}']])
})

test('a shard has but so many casts without an answer, and takes more when they are answered', async () => {
  let open = false
  const path: DeliveryPath = (_cast, deliver) => (open ? deliver() : UNAVAILABLE)
  const { log, heard, pay, pass } = createFixture({ path, maxCasts: 3 })
  for (let n = 1; n <= 3; n++) assert.equal((await pay(n)).kind, 'reply')
  assert.equal((await pay(4)).kind, 'system')
  const [error] = log.lines.filter(({ level }) => level === 'error')
  assert.match(
    String(error?.fields['error']),
    /InputError: 3 durable casts of this shard wait for their answers/,
  )
  open = true
  await pass(30_000)
  assert.equal(heard.length, 3)
  assert.equal((await pay(5)).kind, 'reply')
})

test('an answer is kept by a store as it was given', () => {
  const answers: readonly PeerAnswer[] = [
    { kind: 'reply', body: null },
    { kind: 'reply', body: new Uint8Array([1, 2, 3]) },
    { kind: 'refusal', code: 'FULL', message: 'no room' },
    { kind: 'system', code: 'INTERNAL', message: '' },
    { kind: 'system', code: 'X'.repeat(64), message: 'é語\u{1f600}'.repeat(100) },
  ]
  for (const answer of answers) assert.deepEqual(decodeCastAnswer(encodeCastAnswer(answer)), answer)
  assert.deepEqual(decodeCastAnswer(encodeCastAnswer({ kind: 'reply', body: new Uint8Array(0) })), {
    kind: 'reply',
    body: new Uint8Array(0),
  })
  const long = decodeCastAnswer(encodeCastAnswer({ kind: 'system', code: 'A', message: 'x'.repeat(9_000) }))
  assert.deepEqual(long, { kind: 'system', code: 'A', message: 'x'.repeat(500) })
})
