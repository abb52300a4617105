// Contracts and games: compile errors, errors at start, and the inferred types. Lines marked with @ts-expect-error test the
// compiler, run by `tsc -p .`.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Remote } from '../../client/index.ts'
import {
  cacheable,
  command,
  contract,
  customCodec,
  event,
  firefly,
  service,
  shard,
  t,
  table,
  type ContextOf,
  type Game,
  type HandlersOf,
  type Infer,
  type SessionContextOf,
} from '../../core/game/index.ts'
import { json } from '../../core/wire/codec.ts'
import { entryCodec, type Contract, type DataOf, type InputOf, type OutputOf } from '../../core/wire/contract.ts'
import { InputError } from '../../core/wire/errors.ts'
import { FIRST_RESERVED } from '../../core/wire/message.ts'
import { testGame } from '../../edge/testing/index.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Compiles only for `true`. */
function assertTrueType<_Is extends true>(): void {}

const definitionError = (message: RegExp) => ({ name: 'DefinitionError', message })

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

/** Handlers for all commands of Arena. */
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

test('a client has promises for calls, void for casts, and listeners for events', () => {
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
    // @ts-expect-error -- an event is not a method
    client.moved({ seat: 1, x: 2 })
    // @ts-expect-error -- nick is missing
    void client.enter({})
    // @ts-expect-error -- a list is not a number
    client.steer({ dx: [], dy: 1 })
  }
  assert.equal(typeof use, 'function')
})

test('an input is parsed by its descriptor; an input without fields accepts an empty body', () => {
  const { enter, leave, moved } = Arena.entries
  assert.deepEqual(enter.input({ nick: 'Ada', cheat: 1 }), { nick: 'Ada' })
  assert.throws(() => enter.input({ nick: 'x'.repeat(17) }), InputError)
  assert.deepEqual(leave.input(undefined), {})
  assert.equal(leave.output, null)
  assert.deepEqual(moved.data({ seat: 1, x: 2 }), { seat: 1, x: 2 })
})

test('a duplicate number does not compile and is rejected at start', () => {
  const twice = () =>
    contract('twice', {
      // @ts-expect-error -- number is also the number of other
      one: command(1),
      // @ts-expect-error -- number is also the number of one
      other: event(1),
    })
  assert.throws(twice, definitionError(/twice\.other: number 1 is also the number of one/))
})

test('a keyed contract has a key at each of its handles, or does not compile', async () => {
  const Room = contract('room', { size: command(1, {}, { size: t.u8 }) }, { keyed: true })
  const Hall = contract('hall', { count: command(2, { key: t.optional(t.id) }, { size: t.u8 }) })
  const room = shard(Room)
    .public()
    .on('size', () => ({ size: 3 }))
  const hall = service(Hall)
    .public()
    .on('count', async (c, { key }) => {
      if (key !== undefined) return c.at(Room, key).call.size()
      // @ts-expect-error -- the key is missing
      return c.at(Room).call.size()
    })
  await using game = await testGame(firefly({ room, hall }))
  const ada = await game.player('ada')
  assert.deepEqual(await ada.open(Room, 'a').call.size(), { size: 3 })
  assert.deepEqual(await ada.open(Hall).call.count({ key: 'a' }), { size: 3 })
  await assert.rejects(ada.open(Hall).call.count({}), { code: 'INTERNAL' })
  // @ts-expect-error -- the key is missing
  assert.throws(() => ada.open(Room), { name: 'InputError', message: 'at(room) has no key, and its contract is keyed' })
  // @ts-expect-error -- the key is missing
  assert.throws(() => ada.client.at(Room), InputError)
  await assert.rejects(game.evict(Room), InputError)
  const wide: Contract = Room
  assert.equal(wide.keyed, true)
})

test('a keyed contract has no default key and no service', () => {
  assert.throws(() => contract('room', {}, { keyed: true, key: 'main' }), definitionError(/^room: keyed, and with/))
  assert.throws(() => service(contract('room', {}, { keyed: true })), definitionError(/^room: a service has no key/))
})

test('a number must be an integer below the reserved ones', () => {
  contract('edges', { first: command(0), last: command(0xfffffeff) })
  for (const number of [FIRST_RESERVED, 0xffff_ffff, 0x1_0000_0000, -1, 1.5, NaN])
    assert.throws(
      () => contract('edges', { one: command(number) }),
      definitionError(/, not an integer in 0\.\.4294967039/),
    )
})

test('rejects an invalid contract name', () => {
  for (const name of ['a', 'arena-2', `a${'b'.repeat(31)}`]) assert.equal(contract(name, {}).name, name)
  for (const name of ['', 'Arena', '2d', 'a/b', 'a b', 'a_b', '-a', 'é', `a${'b'.repeat(32)}`])
    assert.throws(() => contract(name, {}), definitionError(/must match \[a-z\]\[a-z0-9-\]\{0,31\}/), name)
})

test('rejects a command, but not an event, with the name of a client method', () => {
  for (const name of ['on', 'onRestart', 'onClose', 'close', 'then'])
    assert.throws(
      () => contract('shop', { [name]: command(1) }),
      definitionError(/the client has a method of that name/),
      name,
    )
  contract('shop', { close: event(1), opened: command(2) })
})

test('rejects an invalid refusal code', () => {
  contract('shop', {}, { refuses: ['NO_ITEM', 'a-1'] })
  for (const code of ['', 'NO ITEM', 'x'.repeat(65), 'é'])
    assert.throws(() => contract('shop', {}, { refuses: [code] }), definitionError(/^shop: refusal /), code)
})

test('a codec is a name or an object; an entry may have its own', () => {
  const unknown = definitionError(/codec is "xml", not one of raw, json, msgpack/)
  const xml = 'xml' as 'json'
  assert.throws(() => contract('shop', {}, { codec: xml }), unknown)
  assert.throws(() => contract('shop', { one: command(1, {}, null, { codec: xml }) }), unknown)
  // @ts-expect-error -- no such codec
  assert.throws(() => contract('shop', {}, { codec: 'xml' }), unknown)
  const proto = customCodec('proto', { encode: () => new Uint8Array(0), decode: () => ({}) })
  const Shop = contract('shop', { a: command(1), b: command(2, {}, null, { codec: proto }) }, { codec: 'json' })
  assert.deepEqual([entryCodec(Shop, Shop.entries.a).name, entryCodec(Shop, Shop.entries.b)], ['json', proto])
  assert.equal(contract('shop', {}).codec.name, 'msgpack')
})

test('rejects bytes in json, at any depth', () => {
  const bytes = t.bytes(10)
  const json1 = { codec: 'json' } as const
  const bad = definitionError(/shop\.one: json cannot represent t\.bytes/)
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
  contract('shop', { one: command(1, bytes, null, { codec: 'raw' }), two: command(2, { bytes: t.string(3) }) }, json1)
})

test('defaults: key, refusals and the body of a refusal to a legacy client', () => {
  const plain = contract('shop', {})
  assert.deepEqual([plain.key, plain.refuses, plain.refuseLegacy('NO')], ['main', [], { error: 'NO' }])
  const own = contract('shop', {}, { refuses: ['NO'], legacy: { refuse: (code) => ({ result: false, code }) } })
  assert.deepEqual(own.refuseLegacy('NO'), { result: false, code: 'NO' })
})

test('a game combines shards and services by the names of their contracts', () => {
  const Login = contract('login', { login: command(1, { name: t.string(9) }, { ok: t.bool }) })
  const login = service(Login).on('login', () => ({ ok: true }))
  const game = firefly({ arena: arena().public(), login })
  assert.deepEqual([...game.shards.keys()], ['arena', 'login'])
  assert.equal(game.shards.get('arena')?.access, 'public')
  assert.throws(() => firefly({}), definitionError(/at least one shard/))
})

test('a command without handler does not compile and is rejected at start', () => {
  const half = shard(Arena)
    .on('enter', () => ({ seat: 0 }))
    .on('steer', () => {})
    .on('list', () => ({ seats: [] }))
  // @ts-expect-error -- no handler for leave
  assert.throws(() => firefly({ half }), definitionError(/no handler for arena\.leave/))
})

test('rejects at start a number or contract that two shards use', () => {
  const Other = contract('other', { ping: command(250) })
  const other = shard(Other).on('ping', () => {})
  const whole = arena()
  assert.throws(
    // @ts-expect-error -- number 250 is also a number of the other
    () => firefly({ whole, other }),
    definitionError(/number 250 is both arena\.moved and other\.ping/),
  )
  // @ts-expect-error -- all numbers are shared
  assert.throws(() => firefly({ a: arena(), b: arena() }), definitionError(/contract arena is served twice/))
})

test('rejects a handler for an unknown command and a second handler for one', () => {
  // @ts-expect-error -- an event has no handler
  assert.throws(() => shard(Arena).on('moved', () => {}), definitionError(/arena has no command "moved"/))
  // @ts-expect-error -- no such command
  assert.throws(() => shard(Arena).on('fly', () => {}), definitionError(/arena has no command "fly"/))
  assert.throws(() => arena().on('leave', () => {}), definitionError(/arena: the handler of leave is set twice/))
})

test('a handler has the types of its contract, and its output is checked', () => {
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
  // @ts-expect-error -- the contract declares no refusals
  shard(contract('calm', { go: command(1) })).on('go', (c) => c.fail('FULL'))
})

test('handlers() adds several typed handlers, which count as handled', () => {
  const movement = shard(Arena).handlers({
    steer: (c, { dx, dy }) => {
      assertTrueType<Equal<[typeof dx, typeof dy], [number, number]>>()
      c.broadcast.over()
    },
    leave: () => {},
  })
  // @ts-expect-error -- no handler for enter and list
  assert.throws(() => firefly({ movement }), definitionError(/no handler for arena\.enter/))
  const whole = movement.handlers({
    enter: async (_c, { nick }) => ({ seat: nick.length }),
    list: () => ({ seats: [] }),
  })
  assert.deepEqual([...firefly({ whole }).shards.keys()], ['arena'])
  // @ts-expect-error -- the output is { seats: number[] }
  shard(Arena).handlers({ list: () => ({ seats: ['a'] }) })
})

test('rejects anything of a shard that is set twice', () => {
  const Pay = contract('pay', { give: command(301, {}, null, { durable: true }) })
  const Owned = table('owned', { id: t.id }, { key: 'id', owner: Arena })
  const run = (): void => {}
  type Builder = ReturnType<typeof shard<Entries, 'FULL' | 'TOO_POOR'>>
  const setters: Record<string, (builder: Builder) => unknown> = {
    'access (public, players or bound)': (b) => b.public(),
    admit: (b) => b.admit(() => true),
    tables: (b) => b.tables({ owned: Owned }),
    state: (b) => b.state(() => ({})),
    kv: (b) => b.kv({ n: t.u8 }),
    linger: (b) => b.linger(1),
    'tick or step': (b) => b.tick(1, run),
    'timer "ring"': (b) => b.timer('ring', {}, run),
    'answer "gave"': (b) => b.answer('gave', Pay.entries.give, {}, run),
    'the handler of leave': (b) => b.on('leave', run),
    onDisconnect: (b) => b.onDisconnect(run),
    onReconnect: (b) => b.onReconnect(run),
    onResync: (b) => b.onResync(run),
    onLeave: (b) => b.onLeave(run),
    onRejoin: (b) => b.onRejoin(run),
    onActivate: (b) => b.onActivate(run),
    onDeactivate: (b) => b.onDeactivate(run),
  }
  for (const [what, set] of Object.entries(setters)) {
    const builder = shard(Arena)
    set(builder)
    assert.throws(() => set(builder), { name: 'DefinitionError', message: `arena: ${what} is set twice` }, what)
  }
  // Different methods that set the same thing, and each method of the builder is in the list above.
  assert.throws(() => shard(Arena).public().players(), definitionError(/access .* is set twice/))
  assert.throws(() => shard(Arena).players().bound(), definitionError(/access .* is set twice/))
  assert.throws(() => shard(Arena).tick(1, run).step(1, run), definitionError(/tick or step is set twice/))
  assert.throws(() => shard(Arena).on('leave', run).handlers({ leave: run }), definitionError(/leave is set twice/))
  const others = ['constructor', 'on', 'public', 'players', 'bound', 'handlers', 'tick', 'step', 'timer', 'answer']
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(shard(Arena)))
  assert.deepEqual(
    methods.filter((name) => !(name in setters) && !others.includes(name)),
    [],
  )
})

test('rejects lists that name something twice', () => {
  const twice = definitionError(/refusal NO is listed twice|needs the index \w+ twice/)
  assert.throws(() => contract('shop', {}, { refuses: ['NO', 'NO'] }), twice)
  const columns = { id: t.id, n: t.u8 }
  assert.throws(() => table('owned', columns, { key: 'id', owner: Arena, unique: ['n', 'n'] }), twice)
  assert.throws(() => table('owned', columns, { key: 'id', owner: Arena, by: ['n', 'n'], shardKey: 'id' }), twice)
})

test('rejects a handler or hook that is no function', () => {
  const missing = undefined as never
  assert.throws(
    () => shard(Arena).on('leave', missing),
    definitionError(/the handler of leave is undefined, not a func/),
  )
  assert.throws(() => shard(Arena).onLeave(missing), definitionError(/arena: onLeave is undefined, not a function/))
  assert.throws(() => shard(Arena).timer('ring', {}, missing), definitionError(/timer "ring" is undefined/))
})

test('helpers and handlers of other files take their types from the builder', () => {
  const Pay = contract('pay', { give: command(301, {}, { left: t.u8 }, { durable: true }) })
  const base = shard(Arena)
    .state(() => ({ score: 0 }))
    .kv({ best: t.u32 })
    .timer('ring', { n: t.u8 }, (c) => award(c, 1))
    .answer('gave', Pay.entries.give, { id: t.id }, () => {})
  function award(c: ContextOf<typeof base>, points: number): void {
    c.state.score += points
    c.schedule(1, 'ring', { n: 1 })
    c.broadcast.moved({ seat: 1, x: 2 })
    c.at(Pay, 'k').cast.give({}, { answer: 'gave', data: { id: 'a' } })
    assertTrueType<Equal<ReturnType<typeof c.kv.get<'best'>>, number | undefined>>()
    // @ts-expect-error -- ticks and timers have no seat
    void c.seat
    // @ts-expect-error -- no such timer
    c.setTimer(1, 'rang')
    // @ts-expect-error -- not a refusal of this contract
    c.fail('NO_SUCH_CODE')
  }
  const seatOf = (c: SessionContextOf<typeof base>): number => (award(c, c.seat), c.seat)
  const movement = {
    enter: (c, { nick }) => ({ seat: seatOf(c) + nick.length }),
    steer: (c, { dx }) => award(c, dx),
  } satisfies HandlersOf<typeof base>
  const wrong = {
    // @ts-expect-error -- the output is { seat: number }
    enter: () => ({ seat: 'one' }),
  } satisfies HandlersOf<typeof base>
  assert.ok(wrong)
  const half = base.handlers(movement)
  // @ts-expect-error -- no handler for leave and list
  assert.throws(() => firefly({ half }), definitionError(/no handler for arena\.leave/))
  const whole = half.on('leave', (c) => award(c, seatOf(c))).on('list', () => ({ seats: [] }))
  assert.deepEqual([...firefly({ whole }).shards.keys()], ['arena'])
})

test('rejects state, kv and timers on a service', () => {
  const make = () => service(contract('login', { go: command(1) }), { concurrency: 2 })
  assert.equal(make().definition.concurrency, 2)
  assert.throws(
    () => make().state(() => ({})),
    definitionError(/^login: a service cannot have (state|kv), only a shard can/),
  )
  assert.throws(
    () => make().kv({ a: t.u8 }),
    definitionError(/^login: a service cannot have (state|kv), only a shard can/),
  )
  assert.throws(
    () => service(Arena, { concurrency: 0 }),
    definitionError(/^arena: concurrency is 0, not a positive integer/),
  )
})

/** Hides arguments from the compiler that it would reject. */
const untyped = (define: unknown) => define as (...args: unknown[]) => never
const make = {
  cacheable: untyped(cacheable),
  command: untyped(command),
  contract: untyped(contract),
  customCodec: untyped(customCodec),
  event: untyped(event),
  firefly: untyped(firefly),
  service: untyped(service),
  shard: untyped(shard),
}
/** Calls a method of a new builder. */
const build = (method: keyof ReturnType<typeof arena>, ...args: unknown[]): unknown => {
  const builder = shard(Arena)
  return untyped(builder[method]).apply(builder, args)
}
const run = (): void => {}
const snapshot = { everyMs: 1, save: run, load: run }

const REJECTED: readonly (readonly [define: () => unknown, message: RegExp])[] = [
  [() => make.firefly(), /^firefly: the argument shards is undefined, not an object$/],
  [() => make.firefly({ a: undefined }), /^firefly: a is undefined, not what shard\(\) or service\(\) returns$/],
  [() => make.firefly({ a: Arena }), /^firefly: a is the contract arena, not what shard\(\) or service\(\) returns$/],
  [() => make.firefly({ a: {} }), /^firefly: a is object, not what shard/],
  [() => make.firefly({}, { auth: 5 }), /^firefly: auth is 5, not a function$/],
  [() => make.firefly({}, { login: 'both' }), /^firefly: login is "both", not one of takeover, refuse$/],
  [() => make.firefly({}, { requireLogin: 'no' }), /^firefly: requireLogin is "no", not true or false$/],
  [() => make.firefly({}, { requireLogn: true }), /^firefly has no option "requireLogn": did you mean requireLogin\?$/],
  [() => make.firefly({}, { tickets: true }), /^firefly has no option "tickets": login, requireLogin, auth$/],
  [() => make.firefly({}, null), /^firefly: the argument options is null, not an object$/],

  [() => make.shard(undefined), /^shard: its contract is undefined, not what contract\(\) returns$/],
  [() => make.shard({}), /^shard: its contract is object, not what contract/],
  [() => make.shard(Arena, { onBug: 'ignore' }), /^arena: onBug is "ignore", not one of keep, reset$/],
  [() => make.shard(Arena, { onbug: 'keep' }), /^arena has no option "onbug": did you mean onBug\?$/],
  [() => make.service(undefined), /^service: its contract is undefined, not what/],
  [() => make.service(Arena, { concurrency: '5' }), /^arena: concurrency is "5", not a positive integer$/],
  [() => make.service(Arena, { onBug: 'keep' }), /^arena has no option "onBug": concurrency$/],

  [() => build('handlers', undefined), /^arena: the argument handlers is undefined, not an object$/],
  [() => build('handlers', { steerr: run }), /^arena has no command "steerr": did you mean steer\?$/],
  [() => build('on', 'moved', run), /^arena has no command "moved": enter, steer, leave, list$/],
  [() => build('on', undefined, run), /^arena has no command undefined: /],
  [() => build('kv', undefined), /^arena: kv: expected an object of fields or a schema, got undefined$/],
  [() => build('answer', 'a', undefined, {}, run), /^arena: the command of answer "a" is undefined, not a command of/],
  [
    () => build('answer', 'a', Arena.entries.moved, {}, run),
    /^arena: the command of answer "a" is object, not a command/,
  ],
  [() => build('linger', '5'), /^arena: linger in ms is "5", not a number in 0\.\.600000$/],
  [() => build('tick', '20', run), /^arena: the frequency in Hz is "20", not in 0\.\.120$/],
  [
    () => build('state', run, { snapshots: snapshot }),
    /^arena: state has no option "snapshots": did you mean snapshot\?$/,
  ],
  [() => build('state', run, { snapshot: 5 }), /^arena: state: snapshot is 5, not an object$/],
  [
    () => build('state', run, { snapshot: { ...snapshot, everyMs: -1 } }),
    /^arena: snapshot: everyMs is -1, not a number in/,
  ],
  [() => build('state', run, { snapshot: { ...snapshot, save: 5 } }), /^arena: snapshot: save is 5, not a function$/],
  [
    () => build('state', run, { snapshot: { everyMs: 1, save: run } }),
    /^arena: snapshot: load is undefined, not a function$/,
  ],

  [() => make.contract(undefined, {}), /^contract name undefined must match/],
  [() => make.contract('a'), /^a: the argument entries is undefined, not an object$/],
  [() => make.contract('a', { x: undefined }), /^a: x is undefined, not what command\(\) or event\(\) returns$/],
  [() => make.contract('a', { x: { number: 1 } }), /^a: x is object, not what command\(\) or event\(\) returns$/],
  [() => make.contract('a', { x: command('1' as never) }), /^a\.x: number is "1", not an integer in 0\.\.\d+$/],
  [() => make.contract('a', { x: make.command({}) }), /^a\.x: number is object, not an integer in/],
  [
    () => make.contract('a', { x: make.event(1, {}, { latest: 'id' }) }),
    /^a\.x: latest "id" is no field of its data: it has none$/,
  ],
  [
    () => make.contract('a', {}, { codec: {} }),
    /^a: codec is object, not one of raw, json, msgpack, nor what customCodec/,
  ],
  [() => make.contract('a', {}, { key: 5 }), /^a: key is 5, not a name$/],
  [() => make.contract('a', {}, { keyed: 'yes' }), /^a: keyed is "yes", not true or false$/],
  [() => make.contract('a', {}, { refuses: 'NO' }), /^a: refuses is "NO", not a list of names$/],
  [() => make.contract('a', {}, { refuses: [5] }), /^a: refuses is array of 1, not a list of names$/],
  [() => make.contract('a', {}, { refuses: ['INTERNAL'] }), /^a: refusal INTERNAL is a code of the framework/],
  [() => make.contract('a', {}, { refuse: ['NO'] }), /^a has no option "refuse": did you mean refuses\?$/],
  [() => make.contract('a', {}, { legacy: { refuse: 5 } }), /^a: legacy: refuse is 5, not a function$/],

  [() => make.command(1, 5), /^input of command 1: expected an object of fields or a schema, got 5$/],
  [() => make.command(1, {}, false), /^output of command 1: expected an object of fields or a schema, got false$/],
  [() => make.command(1, {}, null, { duarble: true }), /^command 1 has no option "duarble": did you mean durable\?$/],
  [() => make.command(1, {}, null, { durable: 1 }), /^command 1: durable is 1, not true or false$/],
  [() => make.command(1, {}, null, { codec: {} }), /^command 1: codec is object, not one of/],
  [() => make.command(1, {}, null, { maxBytes: '9' }), /^command 1: maxBytes is "9", not a positive integer$/],
  [() => make.command(1, {}, null, { cost: -1 }), /^command 1: cost is -1, not a number in/],
  [() => make.command(1, {}, null, null), /^command 1: the argument options is null, not an object$/],
  [() => make.event(1, null), /^data of event 1: expected an object of fields or a schema, got null$/],
  [() => make.event(1, {}, { durable: true }), /^event 1 has no option "durable": codec, maxItems, latest$/],
  [() => make.event(1, {}, { latest: false }), /^event 1: latest is false, not true or the name of a field$/],
  [() => t.object(undefined as never), /^t\.object: expected an object of fields or a schema, got undefined$/],

  [() => make.customCodec('own', { encode: 5, decode: run }), /^codec own: encode is 5, not a function$/],
  [() => make.customCodec('own', { encode: run }), /^codec own: decode is undefined, not a function$/],
  [() => make.customCodec('own'), /^codec own: the argument options is undefined, not an object$/],
  [() => make.cacheable('c', undefined, run), /^cacheable "c": the argument options is undefined, not an object$/],
  [() => make.cacheable('c', { ttl: 5 }, run), /^cacheable "c" has no option "ttl": /],
  [() => make.cacheable('c', { ttlMs: '5' }, run), /^cacheable "c": ttlMs is "5", not a number above 0$/],
  [() => make.cacheable('c', { ttlMs: 5 }), /^cacheable "c": load is undefined, not a function$/],
]

test('an argument of another kind, an unknown option or none is rejected where it is defined, by name and value', () => {
  for (const [define, message] of REJECTED) assert.throws(define, definitionError(message), String(message))
})

test('an option that is undefined is its default', () => {
  const Plain = contract('plain', { go: make.command(1, {}, null, { durable: undefined }) }, {
    codec: undefined,
  } as object)
  assert.equal(Plain.codec.name, 'msgpack')
  const { login, auth } = make.firefly(
    { a: shard(contract('plain', {})) },
    { login: undefined, auth: undefined },
  ) as Game
  assert.deepEqual([login, auth], ['takeover', null])
})
