// What a row holds comes back exactly, wherever the shard lives next.

import assert from 'node:assert/strict'
import { RowScript, type RowStep } from '../rowshards.ts'
import type { Host } from '../host.ts'
import { awaitOn, pollUntil, frame, uniqueName, callWithRetry, type Case } from './case.ts'

const bytes = (...values: number[]): Uint8Array => new Uint8Array(values)
export const all256 = Uint8Array.from({ length: 256 }, (_, i) => i)

/** The least of every kind, the most, and what lies between and goes wrong. */
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
function expectedRow(row: Readonly<Record<string, unknown>>, keep: string): object {
  const columns = Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? `${value}n` : value])
  return { keep, ...Object.fromEntries(columns), any: JSON.parse(JSON.stringify(row['any'])) }
}

/** Runs a script against a new shard whose life is ended by `end` behind it, and reads all rows of a table then. */
async function runAndReload(
  host: Host,
  table: 'zoo' | 'items',
  steps: readonly RowStep[],
  end: (key: string) => Promise<void>,
): Promise<{ key: string; rows: unknown }> {
  const key = uniqueName()
  const keep = (await host.sdkClient()).at(RowScript, key)
  await awaitOn(host, keep.play({ steps: [...steps] }))
  const read = (): Promise<{ told: unknown[] }> => keep.play({ steps: [['all', table]] })
  const before = (await awaitOn(host, read())).told[0]
  await end(key)
  const rows = (await callWithRetry(host, read)).told[0]
  assert.deepEqual(rows, before)
  return { key, rows }
}

const SHARD_ENDS = {
  evict: (host: Host) => (key: string) => host.evictShard('keep', key),
  abort: (host: Host) => (key: string) => host.abortShard('keep', key),
  kill: (host: Host) => () => host.killProcess!(),
} as const
type ShardEnd = keyof typeof SHARD_ENDS

const persistenceCases = (need: ShardEnd): Case[] => [
  {
    name: `values of every kind come back exactly after ${need}`,
    needs: [need],
    run: async (host) => {
      const inserts = ROWS.map((row): RowStep => ['insert', 'zoo', row])
      const { key, rows } = await runAndReload(host, 'zoo', inserts, SHARD_ENDS[need](host))
      assert.deepEqual(
        rows,
        [ROWS[0]!, ROWS[2]!, ROWS[1]!].map((row) => expectedRow(row, key)),
      )
    },
  },
  {
    name: `values that were updated come back exactly after ${need}`,
    needs: [need],
    run: async (host) => {
      const steps: RowStep[] = []
      for (const [i, row] of ROWS.entries()) {
        const { n: _n, ...patch } = ROWS[(i + 1) % ROWS.length]!
        steps.push(['insert', 'zoo', row], ['update', 'zoo', row['n'], patch])
      }
      const { key, rows } = await runAndReload(host, 'zoo', steps, SHARD_ENDS[need](host))
      const expected = [0, 2, 1].map((i) => ({ ...ROWS[(i + 1) % ROWS.length]!, n: ROWS[i]!['n'] }))
      assert.deepEqual(
        rows,
        expected.map((row) => expectedRow(row, key)),
      )
    },
  },
  {
    name: `defaults and generated ids are the same after ${need}`,
    needs: [need],
    run: async (host) => {
      const { rows } = await runAndReload(host, 'items', [['insert', 'items', {}]], SHARD_ENDS[need](host))
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

export const cases: readonly Case[] = [
  ...persistenceCases('evict'),
  ...persistenceCases('abort'),
  ...persistenceCases('kill'),
  {
    name: 'bytes of a row stay what they were when the buffer they came in is used again',
    run: async (host) => {
      const key = 'main'
      const keep = (await host.sdkClient()).at(RowScript, key)
      const { n: _n, ...row } = ROWS[0]!
      await awaitOn(host, keep.play({ steps: [['insert', 'zoo', { n: 1, ...row }]] }))
      const client = await host.rawClient()
      for (const values of [bytes(1, 2, 3), bytes(4, 5, 6)]) {
        const sent = frame(1503, values)
        const before = client.frames.length
        client.send(sent)
        await host.waitUntil(() => client.frames.length === before + 1, 'the echo')
        sent.fill(0xff)
        const read = (): Promise<{ told: unknown[] }> => keep.play({ steps: [['get', 'zoo', 1]] })
        const { told } = await pollUntil(host, read, () => true, 'the row')
        assert.deepEqual((told[0] as { bytes: Uint8Array }).bytes, values)
      }
    },
  },
  {
    name: 'numbers are added up to their bounds, and the sum is told',
    run: async (host) => {
      const keep = (await host.sdkClient()).at(RowScript, uniqueName())
      const steps: RowStep[] = [
        ['insert', 'heads', { gold: 1, big: 2n ** 64n - 3n, real: 0.5 }],
        ['add', 'heads', undefined, 'gold', 999],
        ['add', 'heads', undefined, 'big', 2n ** 63n],
        ['add', 'heads', undefined, 'real', 0.25],
        ['add', 'heads', undefined, 'none', 1],
        ['add', 'heads', undefined, 'gold', Number.NaN],
        ['add', 'heads', undefined, 'gold', -1_000],
      ]
      const { told } = await awaitOn(host, keep.play({ steps }))
      assert.deepEqual(told.slice(1, 2), [1_000])
      assert.match(String(told[2]), /^BAD_VALUE keep_head\.big: .* is outside 0\.\./)
      assert.equal(told[3], 0.75)
      assert.match(String(told[4]), /^BAD_VALUE keep_head\.none: 1 cannot be added/)
      assert.match(String(told[5]), /^BAD_VALUE keep_head\.gold: NaN is not a finite number$/)
      assert.equal(told[6], 0)
    },
  },
]
