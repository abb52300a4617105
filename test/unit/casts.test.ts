// Durable casts over a path that loses, delays and refuses deliveries, with a clock that jumps back. Invariant: every cast
// takes effect once.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CallError, command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import type { PeerAnswer } from '../../core/ports/directory.ts'
import type { StoredCast } from '../../core/ports/store.ts'
import { decodeCastAnswer, encodeCastAnswer } from '../../core/turn/castreceiver.ts'
import { msgpack } from '../../core/wire/codec.ts'

const Till = contract('till', {
  pay: command(1, { to: t.string(9), n: t.array(t.u32, 99) }, {}),
  take: command(2, { n: t.u32 }, { sum: t.u32 }, { durable: true }),
  misname: command(3, {}, {}, { durable: true }),
})
/** Delivers a cast, or not, and returns the answer that the sender receives. */
type DeliveryPath = (cast: StoredCast, deliver: () => Promise<PeerAnswer>) => Promise<PeerAnswer>
const NEVER_SETTLES = new Promise<never>(() => {})
const UNAVAILABLE = Promise.resolve({ kind: 'system', code: 'UNAVAILABLE', message: '' } as const)

class SkewedClock extends ManualClock {
  skewMs = 0
  override now(): number {
    return super.now() + this.skewMs
  }
}

/** Two shards, `a` and `b`; `a` casts to `b`. */
function createFixture({
  path = (_cast, deliver) => deliver(),
  hookFailures = 0,
  hookError,
  maxCasts = 99,
}: Options = {}) {
  const [clock, store, log] = [new SkewedClock(), new MemoryStore(), new MemoryLog()]
  const answers: string[] = []
  const taken: number[] = []
  let failuresLeft = hookFailures
  const till = shard(Till)
    .kv({ sum: t.u32 })
    .answer('paid', Till.entries.take, { n: t.u32 }, (_c, { n }, answer) => {
      const mustFail = failuresLeft-- > 0
      if (mustFail && hookError) return Promise.reject(hookError)
      if (mustFail) throw new Error('the bug of the test')
      return void answers.push(`${n} ${answer.ok ? JSON.stringify(answer.output) : answer.code}`)
    })
    .on('pay', (c, { to, n: all }) => {
      for (const n of all) c.at(Till, to).cast.take({ n }, { answer: 'paid', data: { n } })
      return {}
    })
    .on('take', (c, { n }) => {
      const sum = (c.kv.get('sum') ?? 0) + n
      c.kv.set('sum', sum)
      taken.push(n)
      return { sum }
    })
    .on('misname', (c) => {
      c.at(Till, 'b').cast.misname({}, { answer: 'paid', data: { n: 1 } } as never)
      return {}
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
          cast: () => assert.fail('a volatile cast was sent'),
          deliver: (sender, cast) => path(cast, () => engine.receiveDurableCast(id, sender, cast)),
        }),
      },
    },
    { limits: { maxCasts } },
  )
  const pay = (...n: number[]): Promise<PeerAnswer> => {
    const body = msgpack.encode({ to: 'b', n })
    return engine.receiveCall({ contract: 'till', key: 'a' }, { command: 1, body, chain: [], timeoutMs: 0 })
  }
  const misname = (): Promise<PeerAnswer> =>
    engine.receiveCall(
      { contract: 'till', key: 'a' },
      { command: 3, body: msgpack.encode({}), chain: [], timeoutMs: 0 },
    )
  const restart = (key: string): void => engine.shard({ contract: 'till', key }).restart()
  /** Advances the clock in steps, and settles promises between them. */
  const advance = async (ms: number): Promise<void> => {
    for (let left = ms; left >= 0; left -= 10) {
      await new Promise(setImmediate)
      clock.advance(Math.min(10, left))
    }
    await new Promise(setImmediate)
  }
  return { clock, engine, log, answers, taken, pay, misname, restart, advance }
}
interface Options {
  readonly path?: DeliveryPath
  readonly hookFailures?: number
  readonly hookError?: Error
  readonly maxCasts?: number
}

test('activations of a sender within one millisecond never give two casts the same sequence', async () => {
  const { answers, taken, pay, restart, advance } = createFixture()
  for (const n of [[1], [2], [3, 4], [5], [6, 7, 8], [9]]) {
    await pay(...n)
    await new Promise(setImmediate)
    restart('a')
  }
  await advance(0)
  assert.deepEqual(taken, [1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.equal(answers.length, 9)
})

test('a sender whose clock jumped back renumbers its casts, and each takes effect once, in order', async () => {
  const { clock, answers, taken, pay, restart, advance } = createFixture()
  await pay(1)
  await advance(0)
  clock.skewMs = -31_536_000_000
  for (const key of ['a', 'b']) restart(key)
  await pay(2, 3, 4)
  await pay(5)
  await advance(100)
  assert.deepEqual(taken, [1, 2, 3, 4, 5])
  assert.deepEqual(answers, ['1 {"sum":1}', '2 {"sum":3}', '3 {"sum":6}', '4 {"sum":10}', '5 {"sum":15}'])
})

test('renumbers by the mark of a stale answer, and by its text when the receiver runs an earlier version', async () => {
  const stale: PeerAnswer[] = []
  for (const isEarlierVersion of [false, true]) {
    const path: DeliveryPath = async (_cast, deliver) => {
      const answer = await deliver()
      if (answer.kind !== 'system') return answer
      stale.push(answer)
      const { kind, code, message } = answer
      return isEarlierVersion ? { kind, code, message } : { ...answer, message: '' }
    }
    const { clock, taken, pay, restart, advance } = createFixture({ path })
    await pay(1)
    await advance(0)
    clock.skewMs = -31_536_000_000
    restart('a')
    await pay(2)
    await advance(100)
    assert.deepEqual(taken, [1, 2])
  }
  for (const answer of stale)
    assert.ok(answer.kind === 'system' && answer.code === 'STALE' && answer.message === String(answer.mark))
  assert.equal(stale.length, 2)
})

test('delivers casts of an earlier activation first although the clock jumped back', async () => {
  let isOpen = false
  const path: DeliveryPath = (_cast, deliver) => (isOpen ? deliver() : UNAVAILABLE)
  const { clock, taken, pay, restart, advance } = createFixture({ path })
  await pay(1)
  clock.skewMs = -31_536_000_000
  restart('a')
  await pay(2)
  restart('a')
  isOpen = true
  await pay(3)
  await advance(1_000)
  assert.deepEqual(taken, [1, 2, 3])
})

test('repeats a delivery after a transient error, and the answer when its hook throws', async () => {
  for (const code of ['UNAVAILABLE', 'OVERLOADED', 'DEADLINE', 'RETRY_LATER', 'SHARD_RESTARTED']) {
    let refusals = 8
    const path: DeliveryPath = async (_cast, deliver) =>
      refusals-- > 0 ? { kind: 'system', code, message: '' } : deliver()
    const { answers, taken, pay, advance, engine } = createFixture({ path, hookFailures: 2 })
    await pay(7)
    await advance(80_000)
    assert.deepEqual([taken, answers, engine.meter.castRetries], [[7], ['7 {"sum":7}'], 10], code)
  }
})

test('runs the hook of an answer again when it fails with a propagated error', async () => {
  const { answers, taken, pay, advance } = createFixture({ hookFailures: 2, hookError: new CallError('DEADLINE') })
  await pay(1, 2)
  await advance(2_000)
  assert.deepEqual(taken, [1, 2])
  assert.deepEqual(answers, ['1 {"sum":1}', '2 {"sum":3}'])
})

test('repeats a delivery that is never answered or whose path fails', async () => {
  let tries = 0
  const path: DeliveryPath = (_cast, deliver) => {
    tries++
    if (tries === 1) return NEVER_SETTLES
    if (tries === 2) return Promise.reject(new Error('the path failed'))
    // The cast is run, and its answer is lost.
    if (tries === 3) return deliver().then(() => NEVER_SETTLES)
    return deliver()
  }
  const { answers, taken, pay, advance } = createFixture({ path })
  await pay(7)
  await advance(60_000)
  assert.deepEqual([taken, answers, tries], [[7], ['7 {"sum":7}'], 4])
})

/** Casts 1 and 2 take effect once, although the path delays the first delivery until it has been repeated. */
async function assertOnceThrough(path: DeliveryPath, releases: readonly (() => void)[]): Promise<void> {
  const { answers, taken, pay, advance } = createFixture({ path })
  await pay(1, 2)
  await advance(11_000)
  for (const release of releases) release()
  await advance(11_000)
  assert.deepEqual({ taken, answers }, { taken: [1, 2], answers: ['1 {"sum":1}', '2 {"sum":3}'] })
}

test('handles an answer once when the delivery was repeated before it arrived', async () => {
  const releases: (() => void)[] = []
  const path: DeliveryPath = async (_cast, deliver) => {
    const answer = await deliver()
    if (releases.length === 0) await new Promise<void>((resolve) => releases.push(resolve))
    return answer
  }
  await assertOnceThrough(path, releases)
})

test('a delivery that arrives after later casts were run is not run again', async () => {
  const releases: (() => void)[] = []
  const path: DeliveryPath = (_cast, deliver) => {
    if (releases.length > 0) return deliver()
    return new Promise((resolve) => releases.push(() => void deliver().then(resolve)))
  }
  await assertOnceThrough(path, releases)
})

test('ignores an answer to an ended activation; the next activation receives it again', async () => {
  let release: () => void = () => {}
  const path: DeliveryPath = async (_cast, deliver) => {
    const answer = await deliver()
    await new Promise<void>((resolve) => (release = resolve))
    return answer
  }
  const { engine, answers, taken, pay, restart, advance } = createFixture({ path })
  await pay(7)
  await advance(0)
  const releaseEarly = release
  restart('a')
  releaseEarly()
  await advance(50)
  assert.deepEqual([taken, answers], [[7], []])
  // The host activates the shard, which receives no calls.
  engine.wake({ contract: 'till', key: 'a' }, 0)
  await advance(0)
  release()
  await advance(50)
  assert.deepEqual([taken, answers], [[7], ['7 {"sum":7}']])
})

test('bounds the pending casts of a shard, and accepts more when they are answered', async () => {
  let isOpen = false
  const path: DeliveryPath = (_cast, deliver) => (isOpen ? deliver() : UNAVAILABLE)
  const { log, answers, pay, advance } = createFixture({ path, maxCasts: 3 })
  for (let n = 1; n <= 3; n++) assert.equal((await pay(n)).kind, 'reply')
  assert.equal((await pay(4)).kind, 'system')
  const [error] = log.lines.filter(({ level }) => level === 'error')
  assert.match(String(error?.fields['error']), /InputError: 3 durable casts of this shard wait for their answers/)
  isOpen = true
  await advance(30_000)
  assert.equal(answers.length, 3)
  assert.equal((await pay(5)).kind, 'reply')
})

test('refuses a cast that names the answer hook of another command', async () => {
  const { log, misname } = createFixture()
  assert.equal((await misname()).kind, 'system')
  const [error] = log.lines.filter(({ level }) => level === 'error')
  assert.match(String(error?.fields['error']), /InputError: answer paid is for command 2, not 3/)
})

test('decodes a stored answer to the answer that was encoded', () => {
  const cases: readonly PeerAnswer[] = [
    { kind: 'reply', body: null },
    { kind: 'reply', body: new Uint8Array([1, 2, 3]) },
    { kind: 'refusal', code: 'FULL', message: 'no room' },
    { kind: 'system', code: 'INTERNAL', message: '' },
    { kind: 'system', code: 'X'.repeat(64), message: 'é語\u{1f600}'.repeat(100) },
  ]
  for (const answer of cases) assert.deepEqual(decodeCastAnswer(encodeCastAnswer(answer)), answer)
  assert.deepEqual(decodeCastAnswer(encodeCastAnswer({ kind: 'reply', body: new Uint8Array(0) })), {
    kind: 'reply',
    body: new Uint8Array(0),
  })
  const long = decodeCastAnswer(encodeCastAnswer({ kind: 'system', code: 'A', message: 'x'.repeat(9_000) }))
  assert.deepEqual(long, { kind: 'system', code: 'A', message: 'x'.repeat(500) })
})
