// The session protocol's bytes: every vector both ways, every prefix, random damage. A decoder may throw only ProtocolError, for
// any bytes.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import fc from 'fast-check'

import { bytesOfHex as bytes, hexOf as hex } from '../../core/wire/bytes.ts'
import { CLOSE_CODES, ProtocolError, SYSTEM_CODES } from '../../core/wire/errors.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS, TIMES } from '../../core/wire/limits.ts'
import { decodeHello, encodeError, encodeHello, FIRST_RESERVED, MESSAGE } from '../../core/wire/message.ts'
import {
  decodeMessage as decode,
  encodeMessage as encode,
  MESSAGE_CODECS as CODECS,
  readVectors,
  type MessageFields as Fields,
  type MessageName as Name,
} from '../support/vectors.ts'

const vectors = readVectors('messages')

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

test('the message numbers equal the vectors and start at the first reserved number', () => {
  assert.deepEqual({ ...MESSAGE }, vectors.numbers)
  assert.deepEqual(
    Object.values(MESSAGE),
    Array.from({ length: 15 }, (_, i) => FIRST_RESERVED + i),
  )
})

for (const name of Object.keys(MESSAGE) as Name[]) {
  const ownVectors = vectors.messages.filter(({ message }) => message === name)

  test(`decodes ${name} from the bytes of its vectors`, () => {
    assert.ok(ownVectors.length >= 3)
    for (const vector of ownVectors) assert.deepEqual(decode(name, bytes(vector.bodyHex)), vector.fields, vector.name)
  })

  test(`encodes ${name} to the bytes of its vectors, without and with frame`, () => {
    for (const vector of ownVectors) {
      const body = vector.decodeOnly ? bytes(vector.bodyHex) : encode(name, vector.fields)
      assert.equal(hex(body), vector.bodyHex, vector.name)
      assert.equal(hex(encodeFrame(identity, MESSAGE[name], body)), vector.frameHex, vector.name)
    }
  })

  test(`rejects every prefix of ${name} that truncates a known field`, () => {
    for (const vector of ownVectors) {
      const whole = bytes(vector.bodyHex)
      const payloadAt = CODECS[name][2]
      // A fixed message ends with its last field; fields that a later version appends may be missing.
      const { retryAfterMs: _, ...fields } = vector.fields
      const minBytes = payloadAt ?? encode(name, fields).length
      for (let size = 0; size < whole.length; size++) {
        const prefix = whole.subarray(0, size)
        const label = `${vector.name} cut at ${size}`
        if (size < minBytes) assert.throws(() => decode(name, prefix), ProtocolError, label)
        else {
          const payload = payloadAt === null ? {} : { payload: hex(prefix.subarray(payloadAt)) }
          assert.deepEqual(decode(name, prefix), { ...fields, ...payload }, label)
        }
      }
    }
  })
}

test('rejects the invalid messages of the vectors for their reasons', () => {
  for (const { name, message, bodyHex, reason } of vectors.refused) {
    const label = `${message}: ${name}`
    assert.throws(() => decode(message, bytes(bodyHex)), { name: 'ProtocolError', reason }, label)
  }
})

test('rejects the invalid frame headers of the vectors for their reasons', () => {
  for (const { name, frameHex, reason } of vectors.refusedFrames) {
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 65_536, () => assert.fail('delivered'))
    assert.throws(() => decoder.push(bytes(frameHex)), { name: 'ProtocolError', reason }, name)
  }
})

test('a ProtocolError names the message and the number of missing bytes', () => {
  assert.throws(() => decode('ACK', bytes('000000010000')), { message: 'ACK ends 2 bytes too early' })
  assert.throws(() => decode('CLOSE', bytes('0000000101ff')), { message: 'CLOSE contains text that is not UTF-8' })
})

test('a damaged message is decoded or rejected with a ProtocolError', () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(fc.constantFrom(...vectors.messages), damage, (vector, flips) => {
      const body = bytes(vector.bodyHex)
      for (const [at, mask] of flips) if (body.length > 0) body[at % body.length]! ^= mask
      decodeOrReject(vector.message, body)
    }),
    { numRuns: 3_000 },
  )
})

test('random bytes are decoded or rejected with a ProtocolError', () => {
  const names = fc.constantFrom(...(Object.keys(MESSAGE) as Name[]))
  fc.assert(fc.property(names, fc.uint8Array({ maxLength: 80 }), decodeOrReject), { numRuns: 3_000 })
})

function decodeOrReject(message: Name, body: Uint8Array): void {
  try {
    decode(message, body)
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `${message} ${hex(body)}: ${String(error)}`)
  }
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const text = fc.string({ unit: 'binary', maxLength: 40 })
const blob = fc.uint8Array({ maxLength: 300 }).map(hex)
const session = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(hex)
const FIELDS: Partial<Record<Name, fc.Arbitrary<Fields>>> = {
  HELLO: fc.record({ minVersion: fc.nat(255), maxVersion: fc.nat(255), session, ticket: blob, token: blob }),
  OPEN: fc.record({
    channel: u32.filter((channel) => channel > 0),
    activation: u32,
    eventAck: u32,
    contract: text,
    key: text,
  }),
  OPENED: fc.record({ channel: u32, activation: u32, mark: u32, opening: u32, lost: fc.boolean() }),
  ERROR: fc.record(
    {
      channel: u32,
      sequence: u32,
      kind: fc.constantFrom('refusal', 'system'),
      code: text,
      message: text,
      retryAfterMs: u32,
    },
    { requiredKeys: ['channel', 'sequence', 'kind', 'code', 'message'] },
  ),
}

test('decodes any fields that were encoded', () => {
  for (const [name, fields] of Object.entries(FIELDS) as [Name, fc.Arbitrary<Fields>][]) {
    fc.assert(fc.property(fields, (sent) => assert.deepEqual(decode(name, encode(name, sent)), { ...sent })))
  }
})

test('truncates a long error message to 1,000 UTF-16 units', () => {
  const error = { channel: 1, sequence: 1, kind: 'system', code: 'INTERNAL' } as const
  const decoded = decode('ERROR', encodeError({ ...error, message: '€'.repeat(70_000) }))
  assert.equal(decoded['message'], '€'.repeat(1_000))
})

test('a decoded session is a copy and does not retain its chunk', () => {
  const hello = {
    minVersion: 2,
    maxVersion: 2,
    session: new Uint8Array(16).fill(7),
    ticket: bytes('aa'),
    token: bytes(''),
  }
  const chunk = Buffer.from(encodeHello(hello))
  const decoded = decodeHello(chunk, 0, chunk.length)
  chunk.fill(0)
  assert.deepEqual(decoded, hello)
  assert.equal(decoded.session.buffer.byteLength, 16)
})

test('docs/protocol.md contains every number, every code and the bytes of the vectors', () => {
  const page = readFileSync('docs/protocol.md', 'utf8')
  for (const [name, number] of Object.entries(MESSAGE))
    assert.ok(page.includes(`| 0x${number.toString(16).toUpperCase()} | ${name} |`), name)
  for (const [reason, code] of Object.entries(CLOSE_CODES)) assert.ok(page.includes(`| ${reason} | ${code} |`), reason)
  for (const code of SYSTEM_CODES) assert.ok(page.includes(`| ${code} | `), code)
  assert.ok(page.includes(`${TIMES.keepMarksMs / 3_600_000} hours`))
  const { heartbeatMs, turnMs, drainMs, rememberMs, idleMs, lingerMs, firstFrameMs, frameMs } = TIMES
  const times = [heartbeatMs, turnMs, drainMs, rememberMs, idleMs, lingerMs, firstFrameMs, frameMs]
  const { maxMailbox: _mailbox, maxBacklog: _backlog, ...limits } = DEFAULT_LIMITS
  const { maxKvBytes: _kv, maxTimers: _timers, maxCasts: _casts, maxHeld: _held, ...seen } = limits
  const { maxRowCacheBytes: _rows, maxSnapshotBytes: _snapshot, ...bounds } = seen
  for (const number of [...times, ...Object.values(bounds)])
    assert.ok(page.includes(number.toLocaleString('en')), `${number}`)
  const frames = new Set(vectors.messages.map(({ frameHex }) => frameHex))
  const examples = page.split('\n').filter((line) => /^ {4}[CS] [A-Z]+ +0/.test(line))
  assert.equal(examples.length, 17)
  for (const line of examples) assert.ok(frames.has(line.slice(15).replaceAll(/[ |]/g, '')), line)
})
