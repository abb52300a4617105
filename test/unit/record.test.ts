// The envelope between edge and core: every record both ways, rejected envelopes, and additions of later versions.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ProtocolError } from '../../core/wire/errors.ts'
import { readGatewayRecords, readShardRecords } from '../../core/wire/recordreader.ts'
import { RecordBatch, type GatewayRecords, type ShardRecords } from '../../core/wire/record.ts'

type RecordedCall = [name: string, ...fields: unknown[]]

const session = Uint8Array.from({ length: 16 }, (_, i) => i + 1)
const body = Uint8Array.of(9, 8, 7)
const EMPTY_BYTES = new Uint8Array(0)
const opening = {
  session,
  channel: 7,
  legacy: true,
  activation: 0xfffffffe,
  membershipToken: Uint8Array.of(0, 0, 0, 3),
  eventAck: 9,
  uid: 'ada',
  epoch: 0xffffffff,
  generation: 4,
  remote: '2001:db8::7',
}
const newSession = { eventAck: 0, uid: '', epoch: 0, generation: 0, remote: '' }

const toShard: RecordedCall[] = [
  ['open', opening],
  ['open', { session, channel: 0xffffffff, legacy: false, activation: 0, membershipToken: EMPTY_BYTES, ...newSession }],
  ['call', 1, 201, 1, 0, body],
  ['call', 0xffffffff, 0xfffffeff, 255, 0xfffffffe, EMPTY_BYTES],
  ['ack', 5, 0xffffffff],
  ['close', true],
  ['close', false],
  ['pauseEvents', true],
  ['pauseEvents', false],
  ['identify', 'ada', 3],
  ['identify', '', 0],
  ['ping'],
]
const toGateway: RecordedCall[] = [
  ['opened', 3, 12, true, 'deadbeef'],
  ['opened', 1, 0, false, ''],
  ['reply', 4, 201, body],
  ['reply', 5, 202, EMPTY_BYTES],
  ['error', 6, 203, 'refusal', 'NO_ITEM', 'no such item'],
  ['error', 7, 0, 'system', 'INTERNAL', ''],
  ['event', 1, 250, body],
  ['applied', 0xffffffff],
  ['membershipToken', Uint8Array.of(0, 0, 0, 1, 0, 1, 65)],
  ['membershipToken', EMPTY_BYTES],
  ['bind', 'purse', '\ufeffada'],
  ['resync', 513],
  ['login', 'ada', 0xffffffff],
  ['closed', 'UNAVAILABLE', ''],
  ['closed', 'KICKED', 'CHEATING'],
  ['pong'],
]

/** Records the calls it receives; bodies are copied, because they are views. */
function recordingReceiver(): { calls: RecordedCall[]; to: ShardRecords & GatewayRecords } {
  const calls: RecordedCall[] = []
  const to = new Proxy({} as ShardRecords & GatewayRecords, {
    get:
      (_, name) =>
      (...fields: unknown[]) => {
        calls.push([String(name), ...fields.map((field) => (field instanceof Uint8Array ? field.slice() : field))])
      },
  })
  return { calls, to }
}

function write(batch: RecordBatch, [name, ...fields]: RecordedCall): void {
  const method = Reflect.get(batch, name) as (...fields: unknown[]) => void
  method.apply(batch, fields)
}

function encodeRecords(...records: RecordedCall[]): Uint8Array<ArrayBuffer> {
  const batch = new RecordBatch()
  for (const record of records) write(batch, record)
  return batch.takeMessage()
}

const directions = [
  { name: 'to the shard', records: toShard, read: readShardRecords },
  { name: 'to the gateway', records: toGateway, read: readGatewayRecords },
]

for (const { name, records, read } of directions) {
  test(`reads records ${name} as they were written, alone and batched`, () => {
    for (const record of records) {
      const { calls, to } = recordingReceiver()
      read(encodeRecords(record), to)
      assert.deepEqual(calls, [record])
    }
    const { calls, to } = recordingReceiver()
    read(encodeRecords(...records), to)
    assert.deepEqual(calls, records)
  })

  test(`rejects every truncated record ${name}`, () => {
    for (const record of records) {
      const whole = encodeRecords(record)
      for (let size = 0; size < whole.length; size++) {
        assert.throws(
          () => read(whole.subarray(0, size), recordingReceiver().to),
          ProtocolError,
          `${record[0]} cut at ${size}`,
        )
      }
    }
  })

  test(`a flipped byte in a message ${name} causes no error but ProtocolError`, () => {
    const whole = encodeRecords(...records)
    for (let at = 0; at < whole.length; at++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const bad = whole.slice()
        bad[at] = bad[at]! ^ mask
        try {
          read(bad, recordingReceiver().to)
        } catch (error) {
          assert.ok(error instanceof ProtocolError, `byte ${at}: ${String(error)}`)
        }
      }
    }
  })

  test(`skips unknown kinds ${name} and fields after the known ones`, () => {
    const [first, second] = [records[0]!, records.at(-1)!]
    const record = encodeRecords(first).subarray(1)
    const longer = Uint8Array.of(...record, 1, 2)
    new DataView(longer.buffer).setUint32(1, record.length - 5 + 2)
    const unknown = Uint8Array.of(77, 0, 0, 0, 3, 1, 2, 3)
    const { calls, to } = recordingReceiver()
    read(Uint8Array.of(1, ...unknown, ...longer, ...encodeRecords(second).subarray(1)), to)
    assert.deepEqual(calls, [first, second])
  })
}

test('rejects another envelope version', () => {
  assert.throws(
    () => readShardRecords(Uint8Array.of(2, 5, 0, 0, 0, 0), recordingReceiver().to),
    /envelope version 2 is not 1/,
  )
})

test('a call has the expected bytes', () => {
  const hex = Buffer.from(encodeRecords(['call', 1, 201, 1, 0, body])).toString('hex')
  assert.equal(hex, '01' + '02' + '00000014' + '00000001' + '000000c9' + '01' + '00000000' + '00000003' + '090807')
})

test('the bytes of a CLOSED record with a reason are fixed', () => {
  const hex = Buffer.from(encodeRecords(['closed', 'KICKED', 'BOT'])).toString('hex')
  assert.equal(hex, '01' + '87' + '0000000e' + '0000000a' + '4b49434b454420' + '424f54')
})

test('a batch grows beyond its first buffer and is empty after takeMessage', () => {
  const batch = new RecordBatch()
  const large = new Uint8Array(70_000).fill(5)
  batch.reply(1, 2, large)
  batch.reply(2, 2, large)
  const taken = batch.takeMessage()
  batch.pong()
  const { calls, to } = recordingReceiver()
  readGatewayRecords(taken, to)
  assert.deepEqual(
    calls.map(([name, sequence]) => [name, sequence]),
    [
      ['reply', 1],
      ['reply', 2],
    ],
  )
  assert.equal(batch.size, 6)
})
