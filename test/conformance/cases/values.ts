// What a row holds comes back exactly, wherever the shard lives next; what a table cannot hold is refused by name.

import assert from 'node:assert/strict'
import { Keep, type Step } from '../keep.ts'
import type { Host } from '../host.ts'
import { answer, eventually, frame, fresh, insist, type Case } from './probe.ts'

const bytes = (...values: number[]): Uint8Array => new Uint8Array(values)
const all256 = Uint8Array.from({ length: 256 }, (_, i) => i)

/** The least of every kind, the most, and what lies between and goes wrong. */
const ROWS: readonly Readonly<Record<string, unknown>>[] = [
  {
    n: -0x8000_0000,
    u8: 0,
    u16: 0,
    u32: 0,
    i8: -0x80,
    i16: -0x8000,
    i32: -0x8000_0000,
    int: Number.MIN_SAFE_INTEGER,
    f32: -3.4028234663852886e38,
    f64: -Number.MAX_VALUE,
    i64: -(2n ** 63n),
    u64: 0n,
    dec: '-9999999999999999.9999',
    id: 'a',
    text: '',
    one: 'a',
    yes: false,
    bytes: bytes(),
    date: new Date('1000-01-01T00:00:00.000Z'),
    list: [],
    map: {},
    thing: { a: 0 },
    any: 0,
    noInt: null,
    noBig: null,
    noText: null,
    noBytes: null,
    noDate: null,
    noList: null,
    noYes: null,
  },
  {
    n: 0x7fff_ffff,
    u8: 0xff,
    u16: 0xffff,
    u32: 0xffff_ffff,
    i8: 0x7f,
    i16: 0x7fff,
    i32: 0x7fff_ffff,
    int: Number.MAX_SAFE_INTEGER,
    f32: 3.4028234663852886e38,
    f64: Number.MAX_VALUE,
    i64: 2n ** 63n - 1n,
    u64: 2n ** 64n - 1n,
    dec: '9999999999999999.9999',
    id: 'Z_-'.padEnd(64, '9'),
    text: `${'é\u{10ffff}'.repeat(3_000)}end`,
    one: 'ü',
    yes: true,
    bytes: all256,
    date: new Date('9999-12-31T23:59:59.999Z'),
    list: [0.1, 5e-324, -1e300, 1e21, 0, 1, 2, 3],
    map: { '': 'empty', constructor: 'x', 'a"b\\': '\u2028', é: '\0' },
    thing: { a: 255, b: ['', 'ü', '\u{1f600}'] },
    any: { deep: [1, null, 'x', { yes: true }], z: 1, a: 2 },
    noInt: 0,
    noBig: -1n,
    noText: '',
    noBytes: bytes(),
    noDate: new Date(0),
    noList: [],
    noYes: false,
  },
  {
    n: 0,
    u8: 1,
    u16: 256,
    u32: 0x8000_0000,
    i8: -1,
    i16: -1,
    i32: -1,
    int: 2 ** 52 + 1,
    f32: 1.5,
    f64: 0.1 + 0.2,
    i64: 2n ** 53n + 1n,
    u64: 2n ** 63n,
    dec: '-0.0001',
    id: '0',
    text: '\ufeffa\0b\ufeff\uffff\ue000 \t\r\n\' " \\ %_ ',
    one: 'B',
    yes: true,
    bytes: bytes(0, 0, 255, 0),
    date: new Date('1969-12-31T23:59:59.999Z'),
    list: [-1],
    map: { a: '' },
    thing: { a: 7, b: [] },
    any: { at: new Date(0), no: Number.NaN },
    noInt: 255,
    noBig: 2n ** 62n + 1n,
    noText: 'null',
    noBytes: bytes(0),
    noDate: new Date('2024-02-29T12:34:56.789Z'),
    noList: [1, 2],
    noYes: true,
  },
]
/** As the game tells it: bigints are marked, the shard's key is there, JSON is JSON at once. */
function shown(row: Readonly<Record<string, unknown>>, keep: string): object {
  const columns = Object.entries(row).map(([name, value]) => [
    name,
    typeof value === 'bigint' ? `${value}n` : value,
  ])
  return { keep, ...Object.fromEntries(columns), any: JSON.parse(JSON.stringify(row['any'])) }
}

/** Runs a script against a new shard whose life is ended by `end` behind it, and reads all rows of a table then. */
async function outlive(
  host: Host,
  table: 'zoo' | 'items',
  steps: readonly Step[],
  end: (key: string) => Promise<void>,
): Promise<{ key: string; rows: unknown }> {
  const key = fresh()
  const keep = (await host.client()).at(Keep, key)
  await answer(host, keep.play({ steps: [...steps] }))
  const read = (): Promise<{ told: unknown[] }> => keep.play({ steps: [['all', table]] })
  const before = (await answer(host, read())).told[0]
  await end(key)
  const rows = (await insist(host, read)).told[0]
  assert.deepEqual(rows, before)
  return { key, rows }
}

const ENDS = {
  evict: (host: Host) => (key: string) => host.evict('keep', key),
  abort: (host: Host) => (key: string) => host.abort('keep', key),
  kill: (host: Host) => () => host.kill!(),
} as const
type End = keyof typeof ENDS

const lasting = (need: End): Case[] => [
  {
    name: `values of every kind come back exactly after ${need}`,
    needs: [need],
    run: async (host) => {
      const inserts = ROWS.map((row): Step => ['insert', 'zoo', row])
      const { key, rows } = await outlive(host, 'zoo', inserts, ENDS[need](host))
      assert.deepEqual(
        rows,
        [ROWS[0]!, ROWS[2]!, ROWS[1]!].map((row) => shown(row, key)),
      )
    },
  },
  {
    name: `values that were updated come back exactly after ${need}`,
    needs: [need],
    run: async (host) => {
      const steps: Step[] = []
      for (const [i, row] of ROWS.entries()) {
        const { n: _n, ...patch } = ROWS[(i + 1) % ROWS.length]!
        steps.push(['insert', 'zoo', row], ['update', 'zoo', row['n'], patch])
      }
      const { key, rows } = await outlive(host, 'zoo', steps, ENDS[need](host))
      const expected = [0, 2, 1].map((i) => ({ ...ROWS[(i + 1) % ROWS.length]!, n: ROWS[i]!['n'] }))
      assert.deepEqual(
        rows,
        expected.map((row) => shown(row, key)),
      )
    },
  },
  {
    name: `defaults and generated ids are the same after ${need}`,
    needs: [need],
    run: async (host) => {
      const { rows } = await outlive(host, 'items', [['insert', 'items', {}]], ENDS[need](host))
      const [{ id, keep: _keep, ...rest }] = rows as [{ id: string; keep: string }]
      assert.match(id, /^[0-9A-HJKMNP-TV-Z]{26}$/)
      assert.deepEqual(rest, {
        kind: 'sword',
        owner: null,
        mark: null,
        price: '1.50',
        weight: '0n',
        seal: null,
        made: new Date(0),
        count: 1,
      })
    },
  },
]

/** Steps that are refused, and what is said: table, column, value shortened, bound. */
const REFUSED: readonly (readonly [Step, RegExp])[] = [
  [['insert', 'heads', {}], /^BAD_VALUE keep_head\.gold: missing, expected int$/],
  [['insert', 'heads', { gold: 1_001 }], /^BAD_VALUE keep_head\.gold: 1001 is outside 0\.\.1000$/],
  [['insert', 'heads', { gold: '5' }], /^BAD_VALUE keep_head\.gold: expected int, got "5"$/],
  [['insert', 'heads', { gold: null }], /^BAD_VALUE keep_head\.gold: expected int, got null$/],
  [['insert', 'heads', { gold: 1, silver: 1 }], /^UNKNOWN_COLUMN keep_head\.silver: /],
  [
    ['insert', 'heads', { gold: 1, keep: 'other' }],
    /^BAD_VALUE keep_head\.keep: "other" is another shard's$/,
  ],
  [['insert', 'heads', { gold: 1, none: 256 }], /^BAD_VALUE keep_head\.none: 256 is outside 0\.\.255$/],
  [
    ['insert', 'heads', { gold: 1, big: -1 }],
    /^BAD_VALUE keep_head\.big: -1 is outside 0\.\.18446744073709551615$/,
  ],
  [['insert', 'heads', { gold: 1, real: 1e39 }], /^BAD_VALUE keep_head\.real: 1e\+39 is outside /],
  [['insert', 'zoo', { ...ROWS[0], any: undefined }], /^BAD_VALUE keep_zoo\.any: missing, expected foreign$/],
  [['insert', 'items', { id: 'a b' }], /^BAD_VALUE keep_item\.id: "a b" is not of A-Z/],
  [['insert', 'items', { id: 'x'.repeat(500) }], /^BAD_VALUE keep_item\.id: .{1,60}500 characters.{1,30}$/],
  [
    ['insert', 'items', { kind: 'y'.repeat(500) }],
    /^BAD_VALUE keep_item\.kind: "y{60,80}….{1,60}sword\|shield$/,
  ],
  [['insert', 'items', { id: 'one' }], /^DUPLICATE keep_item: .*"one"/],
  [['insert', 'items', { mark: 'taken' }], /^DUPLICATE keep_item\.mark: "taken" is taken/],
  [['insert', 'spots', { x: 1, word: 'w' }], /^DUPLICATE keep_spot: /],
  [['insert', 'spots', { x: 1 }], /^BAD_VALUE keep_spot\.word: missing, expected string$/],
  [
    ['insert', 'spots', { x: 1, word: 'x'.repeat(65) }],
    /^BAD_VALUE keep_spot\.word: string of 65 characters exceeds 64$/,
  ],
  [
    ['pad', 'notes', { id: 'big' }, 'text', 'x', 2_100_000],
    /^TOO_LARGE keep_note: .*2100\d{3} bytes exceeds 2000000$/,
  ],
  [['pad', 'notes', { id: 'big' }, 'text', '語', 700_000], /^TOO_LARGE keep_note: .* bytes exceeds 2000000$/],
  [
    ['pad', 'notes', { id: 'big' }, 'text', 'x', 3_000_001],
    /^BAD_VALUE keep_note\.text: string of 3000001 characters exceeds 3000000$/,
  ],
  [
    ['insert', 'notes', { id: 'two', text: '', seal: bytes(1, 2) }],
    /^DUPLICATE keep_note\.seal: 2 bytes is taken/,
  ],
  [['update', 'items', 'one', { id: 'two' }], /^BAD_VALUE keep_item\.id: is part of the key/],
  [['update', 'items', 'one', { keep: 'other' }], /^BAD_VALUE keep_item\.keep: is part of the key/],
  [['update', 'items', 'one', { nope: 1 }], /^UNKNOWN_COLUMN keep_item\.nope: /],
  [['update', 'items', 'one', { count: -1 }], /^BAD_VALUE keep_item\.count: -1 is outside 0\.\.4294967295$/],
  [['update', 'items', 'one', { mark: 'taken' }], /^DUPLICATE keep_item\.mark: "taken" is taken/],
  [
    ['update', 'items', 'one', { price: '1.505' }],
    /^BAD_VALUE keep_item\.price: "1\.505" is not a decimal of 12 digits/,
  ],
  [
    ['update', 'items', 'one', { made: new Date('0999-01-01Z') }],
    /^BAD_VALUE keep_item\.made: .* is outside the years/,
  ],
  [['add', 'items', 'one', 'count', -2], /^BAD_VALUE keep_item\.count: -1 is outside 0\.\.4294967295$/],
  [['add', 'items', 'one', 'count', 0.5], /^BAD_VALUE keep_item\.count: 1\.5 is not whole$/],
  [['add', 'items', 'one', 'kind', 1], /^BAD_VALUE keep_item\.kind: 1 cannot be added to it$/],
  [['add', 'items', 'one', 'weight', 1], /^BAD_VALUE keep_item\.weight: 1 cannot be added to it$/],
  [['add', 'items', 'one', 'nope', 1], /^\w+ keep_item\.nope: /],
  [['get', 'items'], /^BAD_VALUE keep_item\.id: missing, expected id$/],
  [['get', 'spots', { x: 1 }], /^BAD_VALUE keep_spot\.word: missing, expected string$/],
  [['get', 'spots', 5], /^BAD_VALUE keep_spot\.x: missing, expected i32$/],
  [['all', 'items', { count: 1 }], /^UNKNOWN_COLUMN keep_item\.count: /],
  [['all', 'items', { nope: 1 }], /^UNKNOWN_COLUMN keep_item\.nope: /],
  [['all', 'items', { kind: 'axe' }], /^BAD_VALUE keep_item\.kind: "axe" is none of sword\|shield$/],
  [['all', 'items', {}, { limit: -1 }], /^BAD_VALUE keep_item: /],
  [['all', 'items', {}, { limit: 1.5 }], /^BAD_VALUE keep_item: /],
]
const SETTLED: readonly Step[] = [
  ['insert', 'items', { id: 'one' }],
  ['insert', 'items', { id: 'marked', mark: 'taken' }],
  ['insert', 'spots', { x: 1, word: 'w' }],
  ['insert', 'notes', { id: 'sealed', text: '', seal: bytes(1, 2) }],
]
const LOOK: readonly Step[] = [
  ['all', 'heads'],
  ['all', 'items'],
  ['all', 'spots'],
  ['all', 'notes'],
]

export const cases: readonly Case[] = [
  ...lasting('evict'),
  ...lasting('abort'),
  ...lasting('kill'),
  {
    name: 'what a table refuses is said with table, column, value and bound, and leaves nothing',
    run: async (host) => {
      const keep = (await host.client()).at(Keep, fresh())
      await answer(host, keep.play({ steps: [...SETTLED] }))
      const before = (await answer(host, keep.play({ steps: [...LOOK] }))).told
      for (const [step, message] of REFUSED) {
        const { told } = await answer(host, keep.play({ steps: [step, ...LOOK] }), String(message))
        assert.match(String(told[0]), message)
        assert.ok(String(told[0]).length < 200, String(told[0]))
        assert.deepEqual(told.slice(1), before, `${String(told[0])} left something`)
      }
    },
  },
  {
    name: 'bytes of a row stay what they were when the buffer they came in is used again',
    run: async (host) => {
      const key = 'main'
      const keep = (await host.client()).at(Keep, key)
      const { n: _n, ...row } = ROWS[0]!
      await answer(host, keep.play({ steps: [['insert', 'zoo', { n: 1, ...row }]] }))
      const client = await host.raw()
      for (const values of [bytes(1, 2, 3), bytes(4, 5, 6)]) {
        const sent = frame(1503, values)
        const before = client.frames.length
        client.send(sent)
        await host.until(() => client.frames.length === before + 1, 'the echo')
        sent.fill(0xff)
        const read = (): Promise<{ told: unknown[] }> => keep.play({ steps: [['get', 'zoo', 1]] })
        const { told } = await eventually(host, read, () => true, 'the row')
        assert.deepEqual((told[0] as { bytes: Uint8Array }).bytes, values)
      }
    },
  },
  {
    name: 'numbers are added up to their bounds, and the sum is told',
    run: async (host) => {
      const keep = (await host.client()).at(Keep, fresh())
      const steps: Step[] = [
        ['insert', 'heads', { gold: 1, big: 2n ** 64n - 3n, real: 0.5 }],
        ['add', 'heads', undefined, 'gold', 999],
        ['add', 'heads', undefined, 'big', 2n ** 63n],
        ['add', 'heads', undefined, 'real', 0.25],
        ['add', 'heads', undefined, 'none', 1],
        ['add', 'heads', undefined, 'gold', Number.NaN],
        ['add', 'heads', undefined, 'gold', -1_000],
      ]
      const { told } = await answer(host, keep.play({ steps }))
      assert.deepEqual(told.slice(1, 2), [1_000])
      assert.match(String(told[2]), /^BAD_VALUE keep_head\.big: .* is outside 0\.\./)
      assert.equal(told[3], 0.75)
      assert.match(String(told[4]), /^BAD_VALUE keep_head\.none: 1 cannot be added/)
      assert.match(String(told[5]), /^BAD_VALUE keep_head\.gold: NaN is not a finite number$/)
      assert.equal(told[6], 0)
    },
  },
]
