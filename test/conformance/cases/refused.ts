// What a table cannot hold is refused in its turn, by a message that names table, column, the path within its value, the
// value (shortened) and the bound.

import assert from 'node:assert/strict'
import { RowScript, type RowStep } from '../rowshards.ts'
import { awaitOn, uniqueName, type Case } from './case.ts'
import { all256, ROWS } from './values.ts'

const bytes = (...values: number[]): Uint8Array => new Uint8Array(values)

/** MySQL does not see a space at the end, so no two rows may differ in nothing else. */
const TRAILING_SPACES: readonly (readonly [RowStep, RegExp])[] = [
  [['insert', 'spots', { x: 1, word: 'w ' }], /^BAD_VALUE keep_spot\.word: "w " ends in a space, which MySQL/],
  [['insert', 'spots', { x: 2, word: ' ' }], /^BAD_VALUE keep_spot\.word: " " ends in a space/],
  [['insert', 'items', { mark: 'taken ' }], /^BAD_VALUE keep_item\.mark: "taken " ends in a space/],
  [['update', 'items', 'one', { mark: 'new ' }], /^BAD_VALUE keep_item\.mark: "new " ends in a space/],
  [['get', 'spots', { x: 1, word: 'w ' }], /^BAD_VALUE keep_spot\.word: "w " ends in a space/],
  [['invalidate', 'spots', { x: 1, word: 'w ' }], /^BAD_VALUE keep_spot\.word: "w " ends in a space/],
  [['all', 'items', { mark: 'taken ' }], /^BAD_VALUE keep_item\.mark: "taken " ends in a space/],
]
/** What is wrong within a value stands behind the name of its column. */
const NESTED_VALUES: readonly (readonly [RowStep, RegExp])[] = [
  [['insert', 'zoo', { ...ROWS[0], thing: { a: 300 } }], /^BAD_VALUE keep_zoo\.thing\.a: 300 is outside 0\.\.255$/],
  [['insert', 'zoo', { ...ROWS[0], thing: {} }], /^BAD_VALUE keep_zoo\.thing\.a: missing, expected u8$/],
  [
    ['insert', 'zoo', { ...ROWS[0], thing: { a: 0, b: ['', 'x'.repeat(10)] } }],
    /^BAD_VALUE keep_zoo\.thing\.b\[1\]: string of 10 characters exceeds 9: "x{10}"$/,
  ],
  [
    ['insert', 'zoo', { ...ROWS[0], map: { ['k '.repeat(99)]: 1 } }],
    /^BAD_VALUE keep_zoo\.map\["(k ){38}k…: expected string, got 1$/,
  ],
  [
    ['insert', 'zoo', { ...ROWS[0], list: [1, 2, 3, 4, 5, 6, 7, 8, 9] }],
    /^BAD_VALUE keep_zoo\.list: array of 9 items exceeds 8: \[1, 2, 3, 4, …\]$/,
  ],
  [
    ['insert', 'zoo', { ...ROWS[0], noBytes: all256 }],
    /^BAD_VALUE keep_zoo\.noBytes: 256 bytes 0001020304050607… exceeds 9$/,
  ],
]

/** Steps that are refused, and what is said: table, column, value shortened, bound. */
const REFUSED: readonly (readonly [RowStep, RegExp])[] = [
  [['insert', 'heads', {}], /^BAD_VALUE keep_head\.gold: missing, expected int$/],
  [['insert', 'heads', { gold: 1_001 }], /^BAD_VALUE keep_head\.gold: 1001 is outside 0\.\.1000$/],
  [['insert', 'heads', { gold: '5' }], /^BAD_VALUE keep_head\.gold: expected int, got "5"$/],
  [['insert', 'heads', { gold: null }], /^BAD_VALUE keep_head\.gold: expected int, got null$/],
  [['insert', 'heads', { gold: 1, silver: 1 }], /^UNKNOWN_COLUMN keep_head\.silver: no such column, was given 1$/],
  [['insert', 'heads', { gold: 1, keep: 'other' }], /^BAD_VALUE keep_head\.keep: "other" is another shard's$/],
  [['insert', 'heads', { gold: 1, none: 256 }], /^BAD_VALUE keep_head\.none: 256 is outside 0\.\.255$/],
  [['insert', 'heads', { gold: 1, big: -1 }], /^BAD_VALUE keep_head\.big: -1 is outside 0\.\.18446744073709551615$/],
  [['insert', 'heads', { gold: 1, real: 1e39 }], /^BAD_VALUE keep_head\.real: 1e\+39 is outside /],
  [['insert', 'zoo', { ...ROWS[0], any: undefined }], /^BAD_VALUE keep_zoo\.any: missing, expected foreign$/],
  [['insert', 'items', { id: 'a b' }], /^BAD_VALUE keep_item\.id: "a b" is not of A-Z/],
  [
    ['insert', 'items', { id: 'x'.repeat(500) }],
    /^BAD_VALUE keep_item\.id: id of 500 characters is outside 1\.\.64: "x{38}…$/,
  ],
  [['insert', 'items', { kind: 'y'.repeat(500) }], /^BAD_VALUE keep_item\.kind: "y{60,80}….{1,60}sword\|shield$/],
  [['insert', 'items', { id: 'one' }], /^DUPLICATE keep_item\.id: a row with the key "one" exists$/],
  [['insert', 'items', { mark: 'taken' }], /^DUPLICATE keep_item\.mark: "taken" is taken/],
  [['insert', 'spots', { x: 1, word: 'w' }], /^DUPLICATE keep_spot\.x,word: a row with the key 1, "w" exists$/],
  [['insert', 'spots', { x: 1 }], /^BAD_VALUE keep_spot\.word: missing, expected string$/],
  [
    ['insert', 'spots', { x: 1, word: 'x'.repeat(65) }],
    /^BAD_VALUE keep_spot\.word: string of 65 characters exceeds 64: "x{38}…$/,
  ],
  [
    ['pad', 'notes', { id: 'big' }, 'text', 'x', 2_100_000],
    /^TOO_LARGE keep_note\.text: .*2100\d{3} bytes exceeds 2000000, 2100016 of them in this column: "x{78}…$/,
  ],
  [
    ['pad', 'notes', { id: 'big' }, 'text', '語', 700_000],
    /^TOO_LARGE keep_note\.text: .* bytes exceeds 2000000, 2100016 of them in this column: "語{78}…$/,
  ],
  [
    ['pad', 'notes', { id: 'big' }, 'text', 'x', 3_000_001],
    /^BAD_VALUE keep_note\.text: string of 3000001 characters exceeds 3000000: "x{38}…$/,
  ],
  [
    ['insert', 'notes', { id: 'two', text: '', seal: bytes(1, 2) }],
    /^DUPLICATE keep_note\.seal: 2 bytes 0102 is taken/,
  ],
  [['update', 'items', 'one', { id: 'two' }], /^BAD_VALUE keep_item\.id: "two" cannot be set, it is part of the key/],
  [['update', 'items', 'one', { keep: 'other' }], /^BAD_VALUE keep_item\.keep: "other" cannot be set/],
  [['update', 'items', 'one', { nope: 1 }], /^UNKNOWN_COLUMN keep_item\.nope: no such column, was given 1$/],
  [['update', 'items', 'one', { ['n o '.repeat(99)]: 1 }], /^UNKNOWN_COLUMN keep_item\."(n o ){19}n …: no such column/],
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
  [['add', 'items', 'one', 'nope', 1], /^UNKNOWN_COLUMN keep_item\.nope: no such column, was given 1$/],
  [['add', 'items', 'one', 'values', 1], /^UNKNOWN_COLUMN keep_item\.values: /],
  [['get', 'items'], /^BAD_VALUE keep_item\.id: missing, expected id$/],
  [['get', 'spots', { x: 1 }], /^BAD_VALUE keep_spot\.word: missing, expected string$/],
  [['get', 'spots', 5], /^BAD_VALUE keep_spot\.x: missing, expected i32$/],
  [['all', 'items', { count: 1 }], /^UNKNOWN_COLUMN keep_item\.count: no such by or unique column, was given 1$/],
  [['all', 'items', { nope: 1 }], /^UNKNOWN_COLUMN keep_item\.nope: /],
  [['all', 'items', { kind: 'axe' }], /^BAD_VALUE keep_item\.kind: "axe" is none of sword\|shield$/],
  [['all', 'items', {}, { limit: -1 }], /^BAD_VALUE keep_item: /],
  [['all', 'items', {}, { limit: 1.5 }], /^BAD_VALUE keep_item: /],
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
    name: 'what a table refuses is said with table, column, value and bound, and leaves nothing',
    run: async (host) => {
      const keep = (await host.sdkClient()).at(RowScript, uniqueName())
      await awaitOn(host, keep.play({ steps: [...INITIAL_STEPS] }))
      const before = (await awaitOn(host, keep.play({ steps: [...READ_ALL_STEPS] }))).told
      for (const [step, message] of [...REFUSED, ...TRAILING_SPACES, ...NESTED_VALUES]) {
        const { told } = await awaitOn(host, keep.play({ steps: [step, ...READ_ALL_STEPS] }), String(message))
        assert.match(String(told[0]), message)
        assert.ok(String(told[0]).length < 200, String(told[0]))
        assert.deepEqual(told.slice(1), before, `${String(told[0])} left something`)
      }
    },
  },
]
