// Values that a table cannot store are rejected in their turn, with a message that names the table, the column, the
// path within the value, the value (shortened) and the bound.

import assert from 'node:assert/strict'
import type { RowStep } from '../rowshards.ts'
import type { Case } from './case.ts'
import { openScriptShard } from './rowscript.ts'
import { ALL_BYTES, bytes, ROWS } from './values.ts'

type Rejection = readonly [RowStep, RegExp]

/** MySQL ignores a space at the end of a text, so two keys must not differ only in it. */
const TRAILING_SPACES: readonly Rejection[] = [
  [['insert', 'spots', { x: 1, word: 'w ' }], /^BAD_VALUE rows_spot\.word: "w " ends in a space, which MySQL/],
  [['insert', 'spots', { x: 2, word: ' ' }], /^BAD_VALUE rows_spot\.word: " " ends in a space/],
  [['insert', 'items', { mark: 'taken ' }], /^BAD_VALUE rows_item\.mark: "taken " ends in a space/],
  [['update', 'items', 'one', { mark: 'new ' }], /^BAD_VALUE rows_item\.mark: "new " ends in a space/],
  [['get', 'spots', { x: 1, word: 'w ' }], /^BAD_VALUE rows_spot\.word: "w " ends in a space/],
  [['invalidate', 'spots', { x: 1, word: 'w ' }], /^BAD_VALUE rows_spot\.word: "w " ends in a space/],
  [['all', 'items', { mark: 'taken ' }], /^BAD_VALUE rows_item\.mark: "taken " ends in a space/],
]
/** The path to the error within a value follows the name of its column. */
const NESTED_VALUES: readonly Rejection[] = [
  [['insert', 'types', { ...ROWS[0], thing: { a: 300 } }], /^BAD_VALUE rows_type\.thing\.a: 300 is outside 0\.\.255$/],
  [['insert', 'types', { ...ROWS[0], thing: {} }], /^BAD_VALUE rows_type\.thing\.a: missing, expected u8$/],
  [
    ['insert', 'types', { ...ROWS[0], thing: { a: 0, b: ['', 'x'.repeat(10)] } }],
    /^BAD_VALUE rows_type\.thing\.b\[1\]: string of 10 characters exceeds 9: "x{10}"$/,
  ],
  [
    ['insert', 'types', { ...ROWS[0], map: { ['k '.repeat(99)]: 1 } }],
    /^BAD_VALUE rows_type\.map\["(k ){38}k…: expected string, got 1$/,
  ],
  [
    ['insert', 'types', { ...ROWS[0], list: [1, 2, 3, 4, 5, 6, 7, 8, 9] }],
    /^BAD_VALUE rows_type\.list: array of 9 items exceeds 8: \[1, 2, 3, 4, …\]$/,
  ],
  [
    ['insert', 'types', { ...ROWS[0], noBytes: ALL_BYTES }],
    /^BAD_VALUE rows_type\.noBytes: 256 bytes 0001020304050607… exceeds 9$/,
  ],
]

/** Each message has the table, the column, the shortened value and the bound. */
const REFUSED: readonly Rejection[] = [
  [['insert', 'heads', {}], /^BAD_VALUE rows_head\.gold: missing, expected int$/],
  [['insert', 'heads', { gold: 1_001 }], /^BAD_VALUE rows_head\.gold: 1001 is outside 0\.\.1000$/],
  [['insert', 'heads', { gold: '5' }], /^BAD_VALUE rows_head\.gold: expected int, got "5"$/],
  [['insert', 'heads', { gold: null }], /^BAD_VALUE rows_head\.gold: expected int, got null$/],
  [['insert', 'heads', { gold: 1, silver: 1 }], /^UNKNOWN_COLUMN rows_head\.silver: no such column, was given 1$/],
  [['insert', 'heads', { gold: 1, shard: 'other' }], /^BAD_VALUE rows_head\.shard: "other" is another shard's$/],
  [['insert', 'heads', { gold: 1, none: 256 }], /^BAD_VALUE rows_head\.none: 256 is outside 0\.\.255$/],
  [['insert', 'heads', { gold: 1, big: -1 }], /^BAD_VALUE rows_head\.big: -1 is outside 0\.\.18446744073709551615$/],
  [['insert', 'heads', { gold: 1, real: 1e39 }], /^BAD_VALUE rows_head\.real: 1e\+39 is outside /],
  [
    ['insert', 'types', { ...ROWS[0], any: { at: [new Date(0)] } }],
    /^BAD_VALUE rows_type\.any\.at\[0\]: an instance of Date cannot be stored/,
  ],
  [
    ['insert', 'types', { ...ROWS[0], any: { no: Number.NaN } }],
    /^BAD_VALUE rows_type\.any\.no: NaN has no form in JSON$/,
  ],
  [['insert', 'types', { ...ROWS[0], any: undefined }], /^BAD_VALUE rows_type\.any: missing, expected foreign$/],
  [['insert', 'items', { id: 'a b' }], /^BAD_VALUE rows_item\.id: "a b" is not of A-Z/],
  [
    ['insert', 'items', { id: 'x'.repeat(500) }],
    /^BAD_VALUE rows_item\.id: id of 500 characters is outside 1\.\.64: "x{38}…$/,
  ],
  [['insert', 'items', { kind: 'y'.repeat(500) }], /^BAD_VALUE rows_item\.kind: "y{60,80}….{1,60}sword\|shield$/],
  [['insert', 'items', { id: 'one' }], /^DUPLICATE rows_item\.id: a row with the key "one" exists$/],
  [['insert', 'items', { mark: 'taken' }], /^DUPLICATE rows_item\.mark: "taken" is taken/],
  [['insert', 'spots', { x: 1, word: 'w' }], /^DUPLICATE rows_spot\.x,word: a row with the key 1, "w" exists$/],
  [['insert', 'spots', { x: 1 }], /^BAD_VALUE rows_spot\.word: missing, expected string$/],
  [
    ['insert', 'spots', { x: 1, word: 'x'.repeat(65) }],
    /^BAD_VALUE rows_spot\.word: string of 65 characters exceeds 64: "x{38}…$/,
  ],
  [
    ['insertLarge', 'notes', { id: 'big' }, 'text', 'x', 2_100_000],
    /^TOO_LARGE rows_note\.text: .*2100\d{3} bytes exceeds 2000000, 2100016 of them in this column: "x{78}…$/,
  ],
  [
    ['insertLarge', 'notes', { id: 'big' }, 'text', '語', 700_000],
    /^TOO_LARGE rows_note\.text: .* bytes exceeds 2000000, 2100016 of them in this column: "語{78}…$/,
  ],
  [
    ['insertLarge', 'notes', { id: 'big' }, 'text', 'x', 3_000_001],
    /^BAD_VALUE rows_note\.text: string of 3000001 characters exceeds 3000000: "x{38}…$/,
  ],
  [
    ['insert', 'notes', { id: 'two', text: '', seal: bytes(1, 2) }],
    /^DUPLICATE rows_note\.seal: 2 bytes 0102 is taken/,
  ],
  [['update', 'items', 'one', { id: 'two' }], /^BAD_VALUE rows_item\.id: "two" cannot be set, it is part of the key/],
  [['update', 'items', 'one', { shard: 'other' }], /^BAD_VALUE rows_item\.shard: "other" cannot be set/],
  [['update', 'items', 'one', { nope: 1 }], /^UNKNOWN_COLUMN rows_item\.nope: no such column, was given 1$/],
  [['update', 'items', 'one', { ['n o '.repeat(99)]: 1 }], /^UNKNOWN_COLUMN rows_item\."(n o ){19}n …: no such column/],
  [['update', 'items', 'one', { count: -1 }], /^BAD_VALUE rows_item\.count: -1 is outside 0\.\.4294967295$/],
  [['update', 'items', 'one', { mark: 'taken' }], /^DUPLICATE rows_item\.mark: "taken" is taken/],
  [
    ['update', 'items', 'one', { price: '1.505' }],
    /^BAD_VALUE rows_item\.price: "1\.505" is not a decimal of 12 digits/,
  ],
  [
    ['update', 'items', 'one', { made: new Date('0999-01-01Z') }],
    /^BAD_VALUE rows_item\.made: .* is outside the years/,
  ],
  [['add', 'items', 'one', 'count', -2], /^BAD_VALUE rows_item\.count: -1 is outside 0\.\.4294967295$/],
  [['add', 'items', 'one', 'count', 0.5], /^BAD_VALUE rows_item\.count: 1\.5 is not whole$/],
  [['add', 'items', 'one', 'kind', 1], /^BAD_VALUE rows_item\.kind: 1 cannot be added to it$/],
  [['add', 'items', 'one', 'weight', 1], /^BAD_VALUE rows_item\.weight: 1 cannot be added to it$/],
  [['add', 'items', 'one', 'nope', 1], /^UNKNOWN_COLUMN rows_item\.nope: no such column, was given 1$/],
  [['add', 'items', 'one', 'values', 1], /^UNKNOWN_COLUMN rows_item\.values: /],
  [['get', 'items'], /^BAD_VALUE rows_item\.id: missing, expected id$/],
  [['get', 'spots', { x: 1 }], /^BAD_VALUE rows_spot\.word: missing, expected string$/],
  [['get', 'spots', 5], /^BAD_VALUE rows_spot\.x: missing, expected i32$/],
  [['all', 'items', { count: 1 }], /^UNKNOWN_COLUMN rows_item\.count: no such by or unique column, was given 1$/],
  [['all', 'items', { nope: 1 }], /^UNKNOWN_COLUMN rows_item\.nope: /],
  [['all', 'items', { kind: 'axe' }], /^BAD_VALUE rows_item\.kind: "axe" is none of sword\|shield$/],
  [['all', 'items', {}, { limit: -1 }], /^BAD_VALUE rows_item: /],
  [['all', 'items', {}, { limit: 1.5 }], /^BAD_VALUE rows_item: /],
]
const INITIAL_STEPS: readonly RowStep[] = [
  ['insert', 'items', { id: 'one' }],
  ['insert', 'items', { id: 'marked', mark: 'taken' }],
  ['insert', 'spots', { x: 1, word: 'w' }],
  ['insert', 'notes', { id: 'sealed', text: '', seal: bytes(1, 2) }],
]
const READ_ALL_STEPS: readonly RowStep[] = [
  ['all', 'heads'],
  ['all', 'items'],
  ['all', 'spots'],
  ['all', 'notes'],
]

export const cases: readonly Case[] = [
  {
    name: 'a rejected value changes nothing, and its message has table, column, value and bound',
    run: async (host) => {
      const { run } = await openScriptShard(host)
      await run(...INITIAL_STEPS)
      const before = await run(...READ_ALL_STEPS)
      for (const [step, message] of [...REFUSED, ...TRAILING_SPACES, ...NESTED_VALUES]) {
        const [error, ...rows] = await run(step, ...READ_ALL_STEPS)
        assert.match(String(error), message)
        assert.ok(String(error).length < 200, String(error))
        assert.deepEqual(rows, before, `${String(error)} changed rows`)
      }
    },
  },
]
