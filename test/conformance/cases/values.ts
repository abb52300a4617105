// Column values survive the end of an activation exactly.

import assert from 'node:assert/strict'
import type { RowStep } from '../rowshards.ts'
import type { Host } from '../host.ts'
import { END_NAMES, endActivation, frame, type ActivationEnd, type Case } from './case.ts'
import { openScriptShard } from './rowscript.ts'

export const bytes = (...values: number[]): Uint8Array => new Uint8Array(values)
export const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, i) => i)

/** The smallest and the largest value of every type, and error-prone values between them. */
export const ROWS: readonly Readonly<Record<string, unknown>>[] = [
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
    bytes: ALL_BYTES,
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
    any: [{ empty: {} }, []],
    noInt: 255,
    noBig: 2n ** 62n + 1n,
    noText: 'null',
    noBytes: bytes(0),
    noDate: new Date('2024-02-29T12:34:56.789Z'),
    noList: [1, 2],
    noYes: true,
  },
]
/** The row as a script returns it: bigints as text, the shard's key added, JSON parsed. */
function expectedRow(row: Readonly<Record<string, unknown>>, shard: string): object {
  const columns = Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? `${value}n` : value])
  return { shard, ...Object.fromEntries(columns) }
}

/** Runs steps on a new shard and ends its activation; returns the rows of the table as the next activation reads them. */
async function runAndReload(
  host: Host,
  end: ActivationEnd,
  table: 'types' | 'items',
  steps: readonly RowStep[],
): Promise<{ key: string; rows: unknown }> {
  const { key, run } = await openScriptShard(host)
  await run(...steps)
  const [before] = await run(['all', table])
  await endActivation(host, end, 'rows', key)
  const [rows] = await run(['all', table])
  assert.deepEqual(rows, before)
  return { key, rows }
}

const persistenceCases = (end: ActivationEnd): Case[] => [
  {
    name: `inserted values of every type are unchanged after ${END_NAMES[end]}`,
    needs: [end],
    run: async (host) => {
      const inserts = ROWS.map((row): RowStep => ['insert', 'types', row])
      const { key, rows } = await runAndReload(host, end, 'types', inserts)
      assert.deepEqual(
        rows,
        [ROWS[0]!, ROWS[2]!, ROWS[1]!].map((row) => expectedRow(row, key)),
      )
    },
  },
  {
    name: `updated values of every type are unchanged after ${END_NAMES[end]}`,
    needs: [end],
    run: async (host) => {
      const steps: RowStep[] = []
      for (const [i, row] of ROWS.entries()) {
        const { n: _n, ...patch } = ROWS[(i + 1) % ROWS.length]!
        steps.push(['insert', 'types', row], ['update', 'types', row['n'], patch])
      }
      const { key, rows } = await runAndReload(host, end, 'types', steps)
      const expected = [0, 2, 1].map((i) => ({ ...ROWS[(i + 1) % ROWS.length]!, n: ROWS[i]!['n'] }))
      assert.deepEqual(
        rows,
        expected.map((row) => expectedRow(row, key)),
      )
    },
  },
  {
    name: `defaults and generated ids are unchanged after ${END_NAMES[end]}`,
    needs: [end],
    run: async (host) => {
      const { rows } = await runAndReload(host, end, 'items', [['insert', 'items', {}]])
      const [{ id, shard: _shard, ...rest }] = rows as [{ id: string; shard: string }]
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

export const cases: readonly Case[] = [
  ...persistenceCases('evict'),
  ...persistenceCases('abort'),
  ...persistenceCases('kill'),
  {
    name: 'bytes of a row do not change when the buffer of their frame is reused',
    run: async (host) => {
      const { run } = await openScriptShard(host, 'main')
      await run(['insert', 'types', { ...ROWS[0], n: 1 }])
      const client = await host.rawClient()
      for (const values of [bytes(1, 2, 3), bytes(4, 5, 6)]) {
        const request = frame(1503, values)
        const before = client.frames.length
        client.send(request)
        await host.waitUntil(() => client.frames.length === before + 1, 'the echo')
        request.fill(0xff)
        const [row] = await run(['get', 'types', 1])
        assert.deepEqual((row as { bytes: Uint8Array }).bytes, values)
      }
    },
  },
  {
    name: 'increment() adds up to the bounds of its column and returns the sum',
    run: async (host) => {
      const { run } = await openScriptShard(host)
      const results = await run(
        ['insert', 'heads', { gold: 1, big: 2n ** 64n - 3n, real: 0.5 }],
        ['add', 'heads', undefined, 'gold', 999],
        ['add', 'heads', undefined, 'big', 2n ** 63n],
        ['add', 'heads', undefined, 'real', 0.25],
        ['add', 'heads', undefined, 'none', 1],
        ['add', 'heads', undefined, 'gold', Number.NaN],
        ['add', 'heads', undefined, 'gold', -1_000],
      )
      assert.equal(results[1], 1_000)
      assert.match(String(results[2]), /^BAD_VALUE rows_head\.big: .* is outside 0\.\./)
      assert.equal(results[3], 0.75)
      assert.match(String(results[4]), /^BAD_VALUE rows_head\.none: 1 cannot be added/)
      assert.match(String(results[5]), /^BAD_VALUE rows_head\.gold: NaN is not a finite number$/)
      assert.equal(results[6], 0)
    },
  },
]
