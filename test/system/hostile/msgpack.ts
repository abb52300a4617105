// MessagePack bodies: bombs of every known kind, extensions, keys, numbers and text. core/wire/scan.ts gives the reason for
// each rejection.

import { sharedReferences } from '../../support/msgpackbomb.ts'
import type { Attack } from './attack.ts'
import { acceptedBodies, INHERITED, rejectedBodies } from './bodies.ts'
import { hex } from './frames.ts'
import { COMMAND } from './game.ts'

const { PACK, LATER } = COMMAND
/** A map of one entry with a text key. */
const entry = (key: string, value: string): string =>
  `81${(0xa0 + key.length).toString(16)}${Buffer.from(key).toString('hex')}${value}`
const hexBodies = (...texts: readonly string[]): Buffer[] => texts.map(hex)
const PROTO = 'a95f5f70726f746f5f5f'
const INHERITED_KEYS = [...INHERITED, 'valueOf']

export const msgpackBodies: readonly Attack[] = [
  rejectedBodies(
    'rejects a MessagePack header that declares 2^32 elements',
    PACK,
    hexBodies('ddffffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', 'c9ffffffff01', entry('list', 'ddffffffff')),
  ),
  rejectedBodies(
    'rejects nested MessagePack arrays whose declared sizes multiply',
    PACK,
    hexBodies('dcffff'.repeat(2_000), 'dd00ffffff'.repeat(200), 'deffff'.repeat(2_000)),
  ),
  rejectedBodies(
    'rejects MessagePack nested deeper than 32',
    PACK,
    hexBodies(
      `${'91'.repeat(33)}c0`,
      `${'81a161'.repeat(33)}c0`,
      `${'91'.repeat(8_000)}c0`,
      '91'.repeat(60_000),
      `${'81a161'.repeat(16_000)}c0`,
    ),
  ),
  rejectedBodies(
    'rejects MessagePack of more than 4,096 items',
    PACK,
    hexBodies(
      `dc1001${'00'.repeat(4_097)}`,
      `dcff00${'80'.repeat(0xff00)}`,
      `dc03e8${'9400000000'.repeat(1_000)}`,
      entry('list', `dc1001${'00'.repeat(4_097)}`),
    ),
  ),
  rejectedBodies('rejects a shared-reference bomb, with and without a trailing byte', PACK, [
    hex(sharedReferences()),
    hex(`${sharedReferences()}00`),
    hex(entry('text', sharedReferences())),
  ]),
  rejectedBodies(
    'rejects every MessagePack extension except timestamp',
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
      'd6690000000181a16101', // an id and a pointer to it
      'd67000000001',
      'c8000101' + '00',
      `d801${'00'.repeat(16)}`,
    ),
  ),
  rejectedBodies('rejects the unused MessagePack byte 0xc1', PACK, hexBodies('c1', '91c1', entry('n', 'c1'))),
  rejectedBodies(
    'rejects an invalid MessagePack timestamp',
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
      entry('n', 'd6ff00000001'), // a timestamp in a number field
    ),
  ),
  rejectedBodies(
    'rejects a MessagePack key __proto__ at any depth',
    PACK,
    hexBodies(
      `81${PROTO}8167706f6c6c7574656401`,
      `81d9095f5f70726f746f5f5f80`,
      entry('map', `81${PROTO}01`),
      entry('list', `9181${PROTO}01`),
    ),
  ),
  rejectedBodies(
    'rejects a MessagePack key that is not a string',
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
  rejectedBodies(
    'rejects bytes after a MessagePack value',
    PACK,
    hexBodies('8000', '80c1', `${entry('n', '01')}${entry('n', '02')}`, `80${'00'.repeat(60_000)}`),
  ),
  rejectedBodies(
    'rejects MessagePack that is truncated at any byte',
    PACK,
    Array.from({ length: 11 }, (_, i) => hex(entry('n', 'cb3ff0000000000000')).subarray(0, i + 1)),
  ),
  rejectedBodies(
    'rejects MessagePack NaN and Infinity in a number field',
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
  rejectedBodies(
    'rejects a MessagePack number that JavaScript would round',
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
  acceptedBodies('decodes MessagePack 2^53 + 1 exactly in a 64-bit integer field', PACK, 'answer: exact', [
    [hex(entry('wide', 'cf0020000000000001')), { wide: 9_007_199_254_740_993n }],
    [hex(entry('wide', 'd38000000000000000')), { wide: -(2n ** 63n) }],
    [hex(entry('wide', 'cf001fffffffffffff')), { wide: 9_007_199_254_740_991 }],
  ]),
  acceptedBodies('decodes MessagePack -0 as 0', PACK, 'answer: 0', [
    [hex(entry('n', 'cb8000000000000000')), { n: 0 }],
    [hex(entry('int', 'cb8000000000000000')), { int: 0 }],
    [hex(entry('n', 'ca80000000')), { n: 0 }],
  ]),
  acceptedBodies('replaces invalid UTF-8 in MessagePack text by U+FFFD', PACK, 'answer: U+FFFD', [
    [hex(entry('text', 'a1ff')), { text: '\ufffd' }],
    [hex(entry('text', 'a2c0af')), { text: '\ufffd'.repeat(2) }],
    [hex(entry('text', 'a3eda080')), { text: '\ufffd'.repeat(3) }], // a lone surrogate
    [hex(entry('text', `d9f0${'eda080'.repeat(80)}`)), { text: '\ufffd'.repeat(240) }],
    [hex(entry('text', `da0384${'eda080'.repeat(300)}`)), { text: '\ufffd'.repeat(900) }],
  ]),
  acceptedBodies(
    'treats MessagePack keys that every object inherits as plain data',
    LATER,
    'answer: stored in a record, dropped as an unknown field',
    [
      ...INHERITED_KEYS.map((key) => [hex(entry('map', entry(key, '05'))), { map: { [key]: 5 } }] as const),
      ...INHERITED_KEYS.map((key) => [hex(entry(key, '05')), {}] as const),
    ],
  ),
  acceptedBodies('treats a MessagePack key toJSON as plain data', PACK, 'answer: stored in a record', [
    [hex(entry('map', entry('toJSON', '05'))), { map: { toJSON: 5 } }],
    [hex(entry('toJSON', '05')), {}],
  ]),
  acceptedBodies('accepts a MessagePack body of the maximum item count', PACK, 'answer', [
    [hex(entry('list', `dc0fff${'01'.repeat(4_095)}`)), { list: new Array<number>(4_095).fill(1) }],
  ]),
]
