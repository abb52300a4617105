// MessagePack bodies: bombs of every known kind, extensions, keys, numbers and text (docs/decisions and the scan of
// core/wire/scan.ts say why each is refused).

import { answeredBodies, COMMAND, refusedBodies } from './bodies.ts'
import { hex } from './frames.ts'
import type { Attack } from './harness.ts'

const { PACK, LATER } = COMMAND
const repeated = (count: number, text: string): string => text.repeat(count)
/** A map of one entry: the key is text. */
const entry = (key: string, value: string): string =>
  `81${(0xa0 + key.length).toString(16)}${Buffer.from(key).toString('hex')}${value}`
const hexBodies = (...texts: readonly string[]): Buffer[] => texts.map(hex)
const PROTO = 'a95f5f70726f746f5f5f'
/** Keys that every object inherits, or that something looks for. */
const INHERITED = ['constructor', 'then', 'toString', 'valueOf', 'hasOwnProperty', 'prototype', 'length']

export const msgpackBodies: readonly Attack[] = [
  refusedBodies(
    'a MessagePack head that declares 2^32 of anything is refused',
    PACK,
    hexBodies('ddffffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', 'c9ffffffff01', entry('list', 'ddffffffff')),
  ),
  refusedBodies(
    'MessagePack arrays that multiply are refused',
    PACK,
    hexBodies(repeated(2_000, 'dcffff'), repeated(200, 'dd00ffffff'), repeated(2_000, 'deffff')),
  ),
  refusedBodies(
    'MessagePack nested deeper than 32 is refused',
    PACK,
    hexBodies(
      `${repeated(33, '91')}c0`,
      `${repeated(33, '81a161')}c0`,
      `${repeated(8_000, '91')}c0`,
      repeated(60_000, '91'),
      `${repeated(16_000, '81a161')}c0`,
    ),
  ),
  refusedBodies(
    'MessagePack of more than 4,096 items is refused',
    PACK,
    hexBodies(
      `dc1001${repeated(4_097, '00')}`,
      `dcff00${repeated(0xff00, '80')}`,
      `dc03e8${repeated(1_000, '9400000000')}`,
      entry('list', `dc1001${repeated(4_097, '00')}`),
    ),
  ),
  refusedBodies('the shared-reference bomb is refused, with and without a byte behind it', PACK, [
    hex(sharedReferences()),
    hex(`${sharedReferences()}00`),
    hex(entry('text', sharedReferences())),
  ]),
  refusedBodies(
    'every MessagePack extension but timestamp is refused',
    PACK,
    hexBodies(
      'd4724091a16101', // a record
      'd572400091a16101',
      'd4780092a161a0', // RegExp
      'd4650093a54572726f72a0c0', // Error
      'd4730090', // Set
      'd5740000', // a typed array
      'd7420102030405060708', // BigInt
      'd66200000000', // bundled strings
      'd40000', // undefined
      'd6690000000181a16101', // an id, and a pointer to it
      'd67000000001',
      'c8000101' + '00',
      `d801${repeated(16, '00')}`,
    ),
  ),
  refusedBodies('the unused byte 0xc1 is refused', PACK, hexBodies('c1', '91c1', entry('n', 'c1'))),
  refusedBodies(
    'a MessagePack timestamp that is no moment is refused',
    PACK,
    hexBodies(
      entry('at', 'd4ff00'),
      entry('at', 'c705ff0000000000'),
      entry('at', 'd7ffee6b280000000001'), // 10^9 nanoseconds
      entry('at', 'c70cff00000000000007dba8218000'), // the year 275761
      entry('at', 'c70cff000000008000000000000000'),
      entry('at', 'c70cffffffffff0000000000000000'),
      entry('at', 'd6ff'),
      entry('at', 'd6ff000000'),
      entry('n', 'd6ff00000001'), // a moment where a number belongs
    ),
  ),
  refusedBodies(
    'a MessagePack key __proto__ is refused wherever it stands',
    PACK,
    hexBodies(
      `81${PROTO}8167706f6c6c7574656401`,
      `81d9095f5f70726f746f5f5f80`,
      entry('map', `81${PROTO}01`),
      entry('list', `9181${PROTO}01`),
    ),
  ),
  refusedBodies(
    'a MessagePack key that is not text is refused',
    PACK,
    hexBodies(
      '8101c0',
      '81c0c0',
      '81c2c0',
      '81c40161c0',
      '8190c0',
      '8181a16100c0',
      '81d67000000001c0',
      '81cb3ff0000000000000c0',
    ),
  ),
  refusedBodies(
    'bytes behind a MessagePack value are refused',
    PACK,
    hexBodies('8000', '80c1', `${entry('n', '01')}${entry('n', '02')}`, `80${repeated(60_000, '00')}`),
  ),
  refusedBodies(
    'MessagePack that ends too early is refused, wherever it is cut',
    PACK,
    Array.from({ length: 11 }, (_, cut) => hex(entry('n', 'cb3ff0000000000000')).subarray(0, cut + 1)),
  ),
  refusedBodies(
    'MessagePack NaN and Infinity are refused where a number belongs',
    PACK,
    hexBodies(
      entry('n', 'cb7ff8000000000000'),
      entry('n', 'cbfff8000000000001'),
      entry('n', 'cb7ff0000000000000'),
      entry('n', 'cbfff0000000000000'),
      entry('n', 'ca7fc00000'),
      entry('n', 'ca7f800000'),
      entry('list', '91cb7ff8000000000000'),
      entry('int', 'cb7ff0000000000000'),
    ),
  ),
  refusedBodies(
    'a MessagePack number that JavaScript would round is refused',
    PACK,
    hexBodies(
      entry('n', 'cf0020000000000001'), // 2^53 + 1
      entry('int', 'cf0020000000000000'),
      entry('int', 'cfffffffffffffffff'),
      entry('int', 'd3ffdfffffffffffff'), // -2^53 - 1
      entry('int', 'cb4340000000000000'), // 2^53 as a float
      entry('wide', 'cb4340000000000000'),
      entry('wide', 'cfffffffffffffffff'), // above i64
      entry('int', 'cb3fe0000000000000'), // 0.5
    ),
  ),
  answeredBodies('MessagePack 2^53 + 1 is exact where the contract has a wide integer', PACK, 'answer, exact', [
    [hex(entry('wide', 'cf0020000000000001')), { wide: 9_007_199_254_740_993n }],
    [hex(entry('wide', 'd38000000000000000')), { wide: -(2n ** 63n) }],
    [hex(entry('wide', 'cf001fffffffffffff')), { wide: 9_007_199_254_740_991 }],
  ]),
  answeredBodies('MessagePack -0 is 0', PACK, 'answer: 0', [
    [hex(entry('n', 'cb8000000000000000')), { n: 0 }],
    [hex(entry('int', 'cb8000000000000000')), { int: 0 }],
    [hex(entry('n', 'ca80000000')), { n: 0 }],
  ]),
  answeredBodies('MessagePack text that is not UTF-8 is read with U+FFFD', PACK, 'answer: U+FFFD', [
    [hex(entry('text', 'a1ff')), { text: '\ufffd' }],
    [hex(entry('text', 'a2c0af')), { text: '\ufffd'.repeat(2) }],
    [hex(entry('text', 'a3eda080')), { text: '\ufffd'.repeat(3) }], // a lone surrogate
    [hex(entry('text', `d9f0${repeated(80, 'eda080')}`)), { text: '\ufffd'.repeat(240) }],
    [hex(entry('text', `da0384${repeated(300, 'eda080')}`)), { text: '\ufffd'.repeat(900) }],
  ]),
  answeredBodies(
    'MessagePack keys that every object inherits are data and nothing else',
    LATER,
    'answer: kept in a record, dropped where no field has the name',
    [
      ...INHERITED.map((key) => [hex(entry('map', entry(key, '05'))), { map: { [key]: 5 } }] as const),
      ...INHERITED.map((key) => [hex(entry(key, '05')), {}] as const),
    ],
  ),
  answeredBodies('a MessagePack key toJSON is data and nothing else', PACK, 'answer: kept in a record', [
    [hex(entry('map', entry('toJSON', '05'))), { map: { toJSON: 5 } }],
    [hex(entry('toJSON', '05')), {}],
  ]),
  answeredBodies('a MessagePack body of the largest extent is answered', PACK, 'answer', [
    [hex(entry('list', `dc0fff${repeated(4_095, '01')}`)), { list: new Array<number>(4_095).fill(1) }],
  ]),
]

/** 15 arrays, each pointing twice to the one before: 2^15 leaves for who walks the result. */
function sharedReferences(): string {
  const id = (n: number): string => n.toString(16).padStart(8, '0')
  let text = `d669${id(1)}91a161`
  for (let n = 2; n <= 15; n++) text = `d669${id(n)}92${text}d670${id(n - 1)}`
  return text
}
