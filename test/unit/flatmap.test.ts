// The codec of a gateway's requests to the built-in shards, against the full codec that those shards use.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { msgpack } from '../../core/wire/codec.ts'
import { ProtocolError } from '../../core/wire/errors.ts'
import { decodeFlatMap, encodeFlatMap, type FlatMap } from '../../core/wire/flatmap.ts'
import { Auth, Session } from '../../core/wire/systemcontract.ts'
import { AUTH_REQUEST, AUTH_SHARD, SESSION_REQUEST, SESSION_SHARD } from '../../core/wire/systemshards.ts'

const value = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 300 }),
  fc.string({ minLength: 200, maxLength: 400 }),
  fc.nat({ max: 0xffff_ffff }),
  // Negative zero is encoded as zero.
  fc.double({ noNaN: true }).map((float) => float + 0),
  fc.boolean(),
  fc.uint8Array({ maxLength: 400 }),
)
const name = fc.stringMatching(/^[a-z][A-Za-z]{0,29}$/)
const flatMap = fc.dictionary(name, value, { maxKeys: 15, noNullPrototype: true }) as fc.Arbitrary<FlatMap>

test('the full codec decodes what the flat codec encodes, and the other way round', () => {
  fc.assert(
    fc.property(flatMap, (fields) => {
      assert.deepEqual(msgpack.decode(encodeFlatMap(fields)), fields)
      const { ...unsigned } = Object.fromEntries(
        Object.entries(fields).filter(
          ([, field]) => typeof field !== 'number' || field >>> 0 === field || field % 1 !== 0,
        ),
      )
      assert.deepEqual(decodeFlatMap(msgpack.encode(unsigned)), unsigned)
    }),
  )
})

test('rejects every other body, and never reads past its end', () => {
  for (const hex of ['90', 'c0', '81', '8101c0', '81a161', '81a161c0', '81a16190', '81a161ff', '8000', '81a161a2ff'])
    assert.throws(() => decodeFlatMap(Buffer.from(hex, 'hex')), ProtocolError, hex)
  const body = encodeFlatMap({ uid: 'ana', epoch: 70_000, at: 1.5, ok: true, ticket: Uint8Array.of(1, 2) })
  for (let length = 1; length < body.length; length++)
    assert.throws(() => decodeFlatMap(body.subarray(0, length)), ProtocolError, String(length))
})

test('names and numbers of the requests are those of the built-in contracts', () => {
  assert.deepEqual([Session.name, Auth.name], [SESSION_SHARD, AUTH_SHARD])
  for (const [name, number] of Object.entries(SESSION_REQUEST))
    assert.equal(Session.entries[name as keyof typeof SESSION_REQUEST].number, number, name)
  assert.deepEqual({ verify: Auth.entries.verify.number }, AUTH_REQUEST)
})
