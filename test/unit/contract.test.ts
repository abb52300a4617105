// Contracts and games: what does not compile, what is refused at start, and which types flow to whom. Lines marked
// with @ts-expect-error are tests of the compiler, run by `tsc -p .`.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Remote } from '../../client/index.ts'
import {
  command,
  contract,
  customCodec,
  event,
  firefly,
  service,
  shard,
  t,
  type Infer,
} from '../../core/game/index.ts'
import { json } from '../../core/wire/codec.ts'
import { entryCodec, type DataOf, type InputOf, type OutputOf } from '../../core/wire/contract.ts'
import { InputError } from '../../core/wire/errors.ts'
import { FIRST_RESERVED } from '../../core/wire/message.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Compiles only for `true`. */
function assertTrueType<_Is extends true>(): void {}

const refused = (message: RegExp) => ({ name: 'DefinitionError', message })

const Arena = contract(
  'arena',
  {
    enter: command(201, { nick: t.string(16), team: t.optional(t.oneOf('red', 'blue')) }, { seat: t.u16 }),
    steer: command(202, { dx: t.f32, dy: t.f32 }, null, { resend: true }),
    leave: command(203),
    list: command(204, {}, { seats: t.array(t.u16, 100) }),
    moved: event(250, { seat: t.u16, x: t.f32 }),
    over: event(251),
  },
  { refuses: ['FULL', 'TOO_POOR'], key: 'lobby' },
)
type Entries = (typeof Arena)['entries']

/** Handlers for all of Arena, to be completed or spoilt. */
const arena = () =>
  shard(Arena)
    .on('enter', (c) => ({ seat: c.seat }))
    .on('steer', () => {})
    .on('leave', () => {})
    .on('list', () => ({ seats: [] }))

test('inputs, outputs and events have the types of their descriptors', () => {
  assertTrueType<Equal<InputOf<Entries['enter']>, { nick: string; team?: 'red' | 'blue' | undefined }>>()
  assertTrueType<Equal<OutputOf<Entries['enter']>, { seat: number }>>()
  assertTrueType<Equal<InputOf<Entries['steer']>, { dx: number; dy: number }>>()
  assertTrueType<Equal<OutputOf<Entries['steer']>, void>>()
  assertTrueType<Equal<OutputOf<Entries['list']>, { seats: number[] }>>()
  assertTrueType<Equal<DataOf<Entries['moved']>, { seat: number; x: number }>>()
  assertTrueType<Equal<Entries['enter']['number'], 201>>()
  assertTrueType<Equal<(typeof Arena)['refuses'][number], 'FULL' | 'TOO_POOR'>>()
  assertTrueType<Equal<Infer<ReturnType<typeof t.array<number>>>, number[]>>()
})

test('a client sees promises for calls, void for casts, and listeners for events', () => {
  type Client = Remote<Entries>
  assertTrueType<Equal<ReturnType<Client['enter']>, Promise<{ seat: number }>>>()
  assertTrueType<Equal<ReturnType<Client['steer']>, void>>()
  assertTrueType<Equal<Parameters<Client['steer']>, [input: { dx: number; dy: number }]>>()
  assertTrueType<Equal<[] extends Parameters<Client['leave']> ? true : false, true>>()
  assertTrueType<Equal<[] extends Parameters<Client['enter']> ? true : false, false>>()
  const use = (client: Client): void => {
    client.on('moved', (data) => assertTrueType<Equal<typeof data, { seat: number; x: number }>>())
    // @ts-expect-error -- no such event
    client.on('enter', () => {})
    // @ts-expect-error -- an event is no method
    client.moved({ seat: 1, x: 2 })
    // @ts-expect-error -- nick is missing
    void client.enter({})
    // @ts-expect-error -- a list is no number
    client.steer({ dx: [], dy: 1 })
  }
  assert.equal(typeof use, 'function')
})

test('an input is parsed by its descriptor, and one without fields accepts an empty body', () => {
  const { enter, leave, moved } = Arena.entries
  assert.deepEqual(enter.input({ nick: 'Ada', cheat: 1 }), { nick: 'Ada' })
  assert.throws(() => enter.input({ nick: 'x'.repeat(17) }), InputError)
  assert.deepEqual(leave.input(undefined), {})
  assert.equal(leave.output, null)
  assert.deepEqual(moved.data({ seat: 1, x: 2 }), { seat: 1, x: 2 })
})

test('a number that stands twice does not compile, and is refused at start', () => {
  const twice = () =>
    contract('twice', {
      // @ts-expect-error -- number is also the number of other
      one: command(1),
      // @ts-expect-error -- number is also the number of one
      other: event(1),
    })
  assert.throws(twice, refused(/twice\.other: number 1 is also one's/))
})

test('a number is a whole number below those of the protocol', () => {
  contract('edges', { first: command(0), last: command(0xfffffeff) })
  for (const number of [FIRST_RESERVED, 0xffff_ffff, 0x1_0000_0000, -1, 1.5, NaN])
    assert.throws(() => contract('edges', { one: command(number) }), refused(/is not in 0\.\.4294967039/))
})

test('a contract has a name of its own kind', () => {
  for (const name of ['a', 'arena-2', `a${'b'.repeat(31)}`]) assert.equal(contract(name, {}).name, name)
  for (const name of ['', 'Arena', '2d', 'a/b', 'a b', 'a_b', '-a', 'é', `a${'b'.repeat(32)}`])
    assert.throws(() => contract(name, {}), refused(/must match \[a-z\]\[a-z0-9-\]\{0,31\}/), name)
})

test('a command is not called like a method of the client; an event may be', () => {
  for (const name of ['on', 'onRestart', 'onClose', 'close', 'then'])
    assert.throws(
      () => contract('shop', { [name]: command(1) }),
      refused(/the client has a method of that name/),
      name,
    )
  contract('shop', { close: event(1), opened: command(2) })
})

test('a refusal code is a short word', () => {
  contract('shop', {}, { refuses: ['NO_ITEM', 'a-1'] })
  for (const code of ['', 'NO ITEM', 'x'.repeat(65), 'é'])
    assert.throws(() => contract('shop', {}, { refuses: [code] }), refused(/^shop: refusal /), code)
})

test('a codec is known by its name or given; an entry may have its own', () => {
  const unknown = refused(/codec "xml" is not one of raw, json, msgpack/)
  const xml = 'xml' as 'json'
  assert.throws(() => contract('shop', {}, { codec: xml }), unknown)
  assert.throws(() => contract('shop', { one: command(1, {}, null, { codec: xml }) }), unknown)
  // @ts-expect-error -- no such codec
  assert.throws(() => contract('shop', {}, { codec: 'xml' }), unknown)
  const proto = customCodec('proto', { encode: () => new Uint8Array(0), decode: () => ({}) })
  const Shop = contract(
    'shop',
    { a: command(1), b: command(2, {}, null, { codec: proto }) },
    { codec: 'json' },
  )
  assert.deepEqual([entryCodec(Shop, Shop.entries.a).name, entryCodec(Shop, Shop.entries.b)], ['json', proto])
  assert.equal(contract('shop', {}).codec.name, 'msgpack')
})

test('bytes have no form in json, however deep they stand', () => {
  const bytes = t.bytes(10)
  const json1 = { codec: 'json' } as const
  const bad = refused(/shop\.one: json has no form for t\.bytes/)
  for (const shape of [
    bytes,
    { a: bytes },
    { a: t.optional(bytes) },
    { a: t.array(t.object({ b: bytes }), 2) },
    { a: t.record(t.nullable(bytes), 2) },
  ]) {
    assert.throws(() => contract('shop', { one: command(1, shape) }, json1), bad)
    assert.throws(() => contract('shop', { one: command(1, {}, shape) }, { codec: json }), bad)
    assert.throws(() => contract('shop', { one: event(1, shape, json1) }), bad)
    contract('shop', { one: command(1, shape, shape), two: event(2, shape, { codec: 'raw' }) })
  }
  contract(
    'shop',
    { one: command(1, bytes, null, { codec: 'raw' }), two: command(2, { bytes: t.string(3) }) },
    json1,
  )
})

test('defaults: key, refusals and the body of a refusal to a legacy client', () => {
  const plain = contract('shop', {})
  assert.deepEqual([plain.key, plain.refuses, plain.refuseLegacy('NO')], ['main', [], { error: 'NO' }])
  const own = contract(
    'shop',
    {},
    { refuses: ['NO'], legacy: { refuse: (code) => ({ result: false, code }) } },
  )
  assert.deepEqual(own.refuseLegacy('NO'), { result: false, code: 'NO' })
})

test('a game is put together from shards and services by the names of their contracts', () => {
  const Login = contract('login', { login: command(1, { name: t.string(9) }, { ok: t.bool }) })
  const login = service(Login).on('login', () => ({ ok: true }))
  const game = firefly({ arena: arena().public(), login })
  assert.deepEqual([...game.shards.keys()], ['arena', 'login'])
  assert.equal(game.shards.get('arena')?.access, 'public')
  assert.throws(() => firefly({}), refused(/at least one shard/))
})

test('a command without handler does not compile, and is refused at start', () => {
  const half = shard(Arena)
    .on('enter', () => ({ seat: 0 }))
    .on('steer', () => {})
    .on('list', () => ({ seats: [] }))
  // @ts-expect-error -- no handler for leave
  assert.throws(() => firefly({ half }), refused(/no handler for arena\.leave/))
})

test('a number or a contract that two shards use is refused at start', () => {
  const Other = contract('other', { ping: command(250) })
  const other = shard(Other).on('ping', () => {})
  assert.throws(
    () => firefly({ arena: arena(), other }),
    refused(/number 250 is both arena\.moved and other\.ping/),
  )
  assert.throws(() => firefly({ a: arena(), b: arena() }), refused(/contract arena is served twice/))
})

test('a handler is for a command of its contract, and for each there is one', () => {
  // @ts-expect-error -- an event has no handler
  assert.throws(() => shard(Arena).on('moved', () => {}), refused(/arena has no command "moved"/))
  // @ts-expect-error -- no such command
  assert.throws(() => shard(Arena).on('fly', () => {}), refused(/arena has no command "fly"/))
  assert.throws(() => arena().on('leave', () => {}), refused(/arena\.leave has two handlers/))
})

test('types flow into a handler and are checked on its way out', () => {
  shard(Arena)
    .state((key) => ({ name: key, ships: new Map<number, string>() }))
    .kv({ best: t.u32 })
    .on('enter', (c, input) => {
      assertTrueType<Equal<typeof input, { nick: string; team?: 'red' | 'blue' | undefined }>>()
      assertTrueType<Equal<typeof c.state, { name: string; ships: Map<number, string> }>>()
      const best = c.kv.get('best')
      assertTrueType<Equal<typeof best, number | undefined>>()
      c.broadcast.moved({ seat: 1, x: 2 })
      // @ts-expect-error -- x is missing
      c.broadcast.moved({ seat: 1 })
      // @ts-expect-error -- no such event
      c.broadcast.enter({})
      return { seat: c.state.ships.size }
    })
    .on('steer', (c, { dx }) => {
      assertTrueType<Equal<typeof dx, number>>()
      // @ts-expect-error -- not a refusal of this contract
      const undeclared = c.fail('NO_SUCH_CODE')
      throw dx > 0 ? c.fail('TOO_POOR') : undeclared
    })
  // @ts-expect-error -- the output is { seat: number }
  shard(Arena).on('enter', () => ({ seat: 'one' }))
  // @ts-expect-error -- the output is missing
  shard(Arena).on('enter', () => {})
  // @ts-expect-error -- a contract without refusals has none to give
  shard(contract('calm', { go: command(1) })).on('go', (c) => c.fail('FULL'))
})

test('handlers may come many at once, typed, and count as handled', () => {
  const movement = shard(Arena).handlers({
    steer: (c, { dx, dy }) => {
      assertTrueType<Equal<[typeof dx, typeof dy], [number, number]>>()
      c.broadcast.over()
    },
    leave: () => {},
  })
  // @ts-expect-error -- no handler for enter and list
  assert.throws(() => firefly({ movement }), refused(/no handler for arena\.enter/))
  const whole = movement.handlers({
    enter: async (_c, { nick }) => ({ seat: nick.length }),
    list: () => ({ seats: [] }),
  })
  assert.deepEqual([...firefly({ whole }).shards.keys()], ['arena'])
  // @ts-expect-error -- the output is { seats: number[] }
  shard(Arena).handlers({ list: () => ({ seats: ['a'] }) })
})

test('a service keeps nothing', () => {
  const make = () => service(contract('login', { go: command(1) }), { concurrency: 2 })
  assert.equal(make().definition.concurrency, 2)
  assert.throws(() => make().state(() => ({})), refused(/a service keeps nothing/))
  assert.throws(() => make().kv({ a: t.u8 }), refused(/a service keeps nothing/))
  assert.throws(() => service(Arena, { concurrency: 0 }), refused(/concurrency 0/))
})
