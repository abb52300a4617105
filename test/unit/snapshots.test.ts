// Snapshots that cannot be saved: the cause is logged with its path, at most once a minute, and each is counted.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Engine } from '../../core/engine/engine.ts'
import { NEW_CHANNEL_DEFAULTS } from '../../core/ports/link.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { decodeStored } from '../../core/wire/stored.ts'
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

const Box = contract('box', { put: command(1, { what: t.oneOf('number', 'instance', 'large') }) })

class Hero {
  hp = 1
}
const values = { number: 5, instance: { heroes: [new Hero()] }, large: 'x'.repeat(DEFAULT_LIMITS.maxSnapshotBytes) }

function openBox() {
  const clock = new ManualClock()
  const store = new MemoryStore()
  const log = new MemoryLog()
  const box = shard(Box)
    .public()
    .state(() => ({ value: null as unknown }), {
      snapshot: { everyMs: 1_000, save: ({ value }) => ({ value }), load: (saved: { value: unknown }) => saved },
    })
    .on('put', (c, { what }) => void (c.state.value = values[what]))
  const engine = new Engine(firefly({ box }), { clock, store, log })
  const id = { contract: 'box', key: 'a' }
  const opening = { shard: id, session: new Uint8Array(16), channel: 1 }
  const channel = engine.open({ ...NEW_CHANNEL_DEFAULTS, ...opening }, IGNORING_CHANNEL_OUT)
  let sequence = 0
  const put = (what: keyof typeof values): void => {
    channel.submitCall(++sequence, 1, 0, 0, msgpack.encode({ what }))
    clock.settle()
  }
  const saved = (): unknown => decodeStored(store.open(id).snapshot!)
  const errors = () => log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields)
  return { clock, engine, put, saved, errors }
}

test('a state that cannot be saved fails its turn, until one turn has ended with a state that can', () => {
  const { engine, put, errors } = openBox()
  put('instance')
  put('instance')
  assert.equal(engine.meter.bugs, 2)
  for (const { error } of errors())
    assert.match(String(error), /^TypeError: snapshot\.value\.heroes\[0\]: an instance of Hero cannot be stored/)
  put('number')
  put('instance')
  assert.equal(engine.meter.bugs, 2)
})

test('a snapshot that cannot be saved leaves the last one, is counted, and is logged once a minute', () => {
  for (const [what, cause] of [
    ['instance', /^snapshot\.value\.heroes\[0\]: an instance of Hero /],
    ['large', /^8388\d{3} bytes exceed 8388608$/],
  ] as const) {
    const { clock, engine, put, saved, errors } = openBox()
    put('number')
    clock.advance(1_000)
    for (let i = 0; i < 70; i++) {
      put(what)
      clock.advance(1_000)
    }
    assert.equal(engine.meter.snapshotsRefused, 70)
    const logged = errors() as { cause: string; refused: number }[]
    assert.deepEqual(
      logged.map(({ refused }) => refused),
      [1, 60],
    )
    for (const line of logged) assert.match(line.cause, cause)
    assert.deepEqual(saved(), { value: 5 })
  }
})
