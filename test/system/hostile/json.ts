// JSON bodies: depth, keys, numbers and text.

import { answeredBodies, COMMAND, refusedBodies } from './bodies.ts'
import { hex } from './frames.ts'
import type { Attack } from './harness.ts'

const { JSON: COMMAND_JSON } = COMMAND
const repeated = (count: number, text: string): string => text.repeat(count)
const INHERITED = ['constructor', 'then', 'toJSON', 'toString', 'hasOwnProperty', 'prototype', 'length']

export const jsonBodies: readonly Attack[] = [
  refusedBodies('JSON nested deeper than 32 is refused', COMMAND_JSON, [
    `${repeated(33, '[')}${repeated(33, ']')}`,
    `${repeated(33, '{"a":')}1${repeated(33, '}')}`,
    repeated(60_000, '['),
    repeated(13_000, '{"a":'),
    `{"x":"\\"",${repeated(12_000, '"a":[')}`,
    `{"list":${repeated(30_000, '[')}${repeated(30_000, ']')}}`,
  ]),
  refusedBodies('JSON that is broken is refused', COMMAND_JSON, [
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
  refusedBodies('JSON of another kind than the contract says is refused', COMMAND_JSON, [
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
  refusedBodies('a JSON key __proto__ is refused wherever it stands and however it is written', COMMAND_JSON, [
    '{"__proto__":{"polluted":1}}',
    '{"map":{"__proto__":1}}',
    '{"\\u005f_proto__":{"polluted":1}}',
    '{"__pr\\u006fto__":{"polluted":1}}',
    '{"list":[{"__proto__":{}}]}',
    '{"x":{"y":{"__proto__":{"polluted":1}}}}',
  ]),
  refusedBodies('JSON numbers that are none, or beyond all bounds, are refused', COMMAND_JSON, [
    '{"n":NaN}',
    '{"n":Infinity}',
    '{"n":-Infinity}',
    '{"n":1e999}',
    '{"n":-1e999}',
    `{"n":${repeated(60_000, '9')}}`,
    '{"n":0x10}',
    '{"n":01}',
    '{"n":+1}',
    '{"int":0.5}',
  ]),
  refusedBodies('a JSON whole number that JavaScript would round is refused', COMMAND_JSON, [
    '{"int":9007199254740993}',
    '{"int":9007199254740992}',
    '{"int":-9007199254740993}',
    '{"int":1e16}',
  ]),
  refusedBodies('JSON text with a lone surrogate is refused', COMMAND_JSON, [
    '{"text":"\\ud800"}',
    '{"text":"\\udc00\\ud800"}',
    '{"map":{"\\ud800":1}}',
  ]),
  refusedBodies('JSON that is not UTF-8 is refused', COMMAND_JSON, [
    hex('7b2274657874223a22ff227d'),
    hex('7b2274657874223a22eda080227d'),
    hex('7b2274657874223a22c0af227d'),
    hex('fffe7b007d00'),
  ]),
  refusedBodies('JSON text, lists and records beyond their bounds are refused', COMMAND_JSON, [
    `{"text":"${repeated(1_001, 'x')}"}`,
    `{"list":[${repeated(4_096, '0,')}0]}`,
    `{"map":{${Array.from({ length: 65 }, (_, i) => `"k${i}":1`).join(',')}}}`,
  ]),
  answeredBodies('a JSON 2^53 + 1 is the nearest number where any number will do', COMMAND_JSON, 'answer: rounded', [
    ['{"n":9007199254740993}', { n: 9_007_199_254_740_992 }],
  ]),
  answeredBodies('JSON -0 is 0', COMMAND_JSON, 'answer: 0', [
    ['{"n":-0}', { n: 0 }],
    ['{"int":-0.0}', { int: 0 }],
    ['{"n":-1e-999}', { n: 0 }],
  ]),
  answeredBodies(
    'JSON keys that every object inherits are data and nothing else',
    COMMAND_JSON,
    'answer: kept in a record, dropped where no field has the name',
    [
      ...INHERITED.map((key) => [`{"map":{"${key}":5}}`, { map: { [key]: 5 } }] as const),
      ...INHERITED.map((key) => [`{"${key}":{"polluted":1}}`, {}] as const),
    ],
  ),
  answeredBodies('of a JSON key that stands twice the last counts', COMMAND_JSON, 'answer: the last', [
    ['{"n":1,"n":2}', { n: 2 }],
  ]),
  answeredBodies('20,000 JSON keys that nobody asked for are dropped', COMMAND_JSON, 'answer: nothing of them', [
    [`{${Array.from({ length: 6_000 }, (_, i) => `"k${i}":1`).join(',')}}`, {}],
    [`{"x":[${repeated(20_000, '{},')}{}]}`, {}],
  ]),
]
