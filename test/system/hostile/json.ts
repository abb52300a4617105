// JSON bodies: depth, keys, numbers and text.

import type { Attack } from './attack.ts'
import { acceptedBodies, INHERITED, rejectedBodies } from './bodies.ts'
import { hex } from './frames.ts'
import { COMMAND } from './game.ts'

const { JSON: JSON_COMMAND } = COMMAND
const INHERITED_KEYS = [...INHERITED, 'toJSON']

export const jsonBodies: readonly Attack[] = [
  rejectedBodies('rejects JSON nested deeper than 32', JSON_COMMAND, [
    `${'['.repeat(33)}${']'.repeat(33)}`,
    `${'{"a":'.repeat(33)}1${'}'.repeat(33)}`,
    '['.repeat(60_000),
    '{"a":'.repeat(13_000),
    `{"x":"\\"",${'"a":['.repeat(12_000)}`,
    `{"list":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
  ]),
  rejectedBodies('rejects malformed JSON', JSON_COMMAND, [
    '{',
    '}',
    '{"n":}',
    '{"n":1}x',
    '{"n":1}{"n":2}',
    "{'n':1}",
    '{"n":1,}',
    '{n:1}',
    '\u0000',
    '"',
    '//',
    'undefined',
  ]),
  rejectedBodies('rejects JSON of another type than the contract declares', JSON_COMMAND, [
    'null',
    'true',
    '1',
    '"text"',
    '[]',
    '{"n":"1"}',
    '{"n":null}',
    '{"list":{"length":3}}',
    '{"map":[]}',
    '{"text":{"toString":1}}',
  ]),
  rejectedBodies('rejects a JSON key __proto__ at any depth and with any escapes', JSON_COMMAND, [
    '{"__proto__":{"polluted":1}}',
    '{"map":{"__proto__":1}}',
    '{"\\u005f_proto__":{"polluted":1}}',
    '{"__pr\\u006fto__":{"polluted":1}}',
    '{"list":[{"__proto__":{}}]}',
    '{"x":{"y":{"__proto__":{"polluted":1}}}}',
  ]),
  rejectedBodies('rejects invalid, infinite and fractional JSON numbers', JSON_COMMAND, [
    '{"n":NaN}',
    '{"n":Infinity}',
    '{"n":-Infinity}',
    '{"n":1e999}',
    '{"n":-1e999}',
    `{"n":${'9'.repeat(60_000)}}`,
    '{"n":0x10}',
    '{"n":01}',
    '{"n":+1}',
    '{"int":0.5}',
  ]),
  rejectedBodies('rejects a JSON integer that JavaScript would round', JSON_COMMAND, [
    '{"int":9007199254740993}',
    '{"int":9007199254740992}',
    '{"int":-9007199254740993}',
    '{"int":1e16}',
  ]),
  rejectedBodies('rejects JSON text with a lone surrogate', JSON_COMMAND, [
    '{"text":"\\ud800"}',
    '{"text":"\\udc00\\ud800"}',
    '{"map":{"\\ud800":1}}',
  ]),
  rejectedBodies('rejects JSON that is not UTF-8', JSON_COMMAND, [
    hex('7b2274657874223a22ff227d'),
    hex('7b2274657874223a22eda080227d'),
    hex('7b2274657874223a22c0af227d'),
    hex('fffe7b007d00'),
  ]),
  rejectedBodies('rejects JSON text, lists and records above their limits', JSON_COMMAND, [
    `{"text":"${'x'.repeat(1_001)}"}`,
    `{"list":[${'0,'.repeat(4_096)}0]}`,
    `{"map":{${Array.from({ length: 65 }, (_, i) => `"k${i}":1`).join(',')}}}`,
  ]),
  acceptedBodies('rounds a JSON 2^53 + 1 to the nearest number in a float field', JSON_COMMAND, 'answer: rounded', [
    ['{"n":9007199254740993}', { n: 9_007_199_254_740_992 }],
  ]),
  acceptedBodies('decodes JSON -0 as 0', JSON_COMMAND, 'answer: 0', [
    ['{"n":-0}', { n: 0 }],
    ['{"int":-0.0}', { int: 0 }],
    ['{"n":-1e-999}', { n: 0 }],
  ]),
  acceptedBodies(
    'treats JSON keys that every object inherits as plain data',
    JSON_COMMAND,
    'answer: stored in a record, dropped as an unknown field',
    [
      ...INHERITED_KEYS.map((key) => [`{"map":{"${key}":5}}`, { map: { [key]: 5 } }] as const),
      ...INHERITED_KEYS.map((key) => [`{"${key}":{"polluted":1}}`, {}] as const),
    ],
  ),
  acceptedBodies('uses the last value of a repeated JSON key', JSON_COMMAND, 'answer: the last value', [
    ['{"n":1,"n":2}', { n: 2 }],
  ]),
  acceptedBodies('drops thousands of unknown JSON keys and their values', JSON_COMMAND, 'answer: without them', [
    [`{${Array.from({ length: 6_000 }, (_, i) => `"k${i}":1`).join(',')}}`, {}],
    [`{"x":[${'{},'.repeat(20_000)}{}]}`, {}],
  ]),
]
