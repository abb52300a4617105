// The legacy frame: compatibility with the original code (schemas/vectors/frames.json), and additions: bounded memory, linear
// reassembly, pausing.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { bytesOfHex as bytes, hexOf as hex } from '../../core/wire/bytes.ts'
import { ProtocolError } from '../../core/wire/errors.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  HEADER_BYTES,
  frameIdentityBytes,
  type FrameIdentity,
  parseFrameHead,
} from '../../core/wire/frame.ts'
import { readVectors } from '../support/vectors.ts'

const vectors = readVectors('frames')

/** The limit that the vectors need: above the default one. */
const MAX = 65_536
const plain = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const frame = (command: number, body: Uint8Array): Uint8Array => encodeFrame(plain, command, body)
const header = (length: number): Uint8Array => bytes(`${'00'.repeat(9)}${length.toString(16).padStart(8, '0')}00000001`)

interface RecordingDecoder {
  readonly decoder: FrameDecoder
  readonly dispatched: [number, string][]
}
/** A decoder that records the delivered frames. */
function recordingDecoder(identity: FrameIdentity = DEFAULT_FRAME_IDENTITY, maxBodyBytes = MAX): RecordingDecoder {
  const dispatched: [number, string][] = []
  const decoder = new FrameDecoder(identity, maxBodyBytes, (command, source, start, end) => {
    dispatched.push([command, hex(source.subarray(start, end))])
  })
  return { decoder, dispatched }
}

/** Returns the reason of the ProtocolError, or null. */
function feed(decoder: FrameDecoder, ...chunks: Uint8Array[]): string | null {
  try {
    for (const chunk of chunks) assert.equal(decoder.push(chunk), chunk.length)
    return null
  } catch (error) {
    if (error instanceof ProtocolError) return error.reason
    throw error
  }
}

for (const { name, head, protoVersion, serverVersion, command, bodyHex, frameHex } of vectors.frames) {
  test(`encodes and decodes the original's frame: ${name}`, () => {
    const identity = { head, protoVersion, serverVersion }
    assert.equal(hex(encodeFrame(frameIdentityBytes(identity), command, bytes(bodyHex))), frameHex)
    const { decoder, dispatched } = recordingDecoder(identity)
    assert.equal(feed(decoder, bytes(frameHex)), null)
    assert.deepEqual(dispatched, [[command, bodyHex]])
    assert.equal(decoder.bufferedBytes, 0)
  })
}

test('rejects every header that the original rejects, at its first wrong byte', () => {
  const complete = vectors.illegal.filter(({ headerHex }) => headerHex.length === 2 * HEADER_BYTES)
  assert.equal(complete.length, 11)
  for (const { name, expectHead: head, expectProtoVersion, expectServerVersion, headerHex } of complete) {
    const identity = { head, protoVersion: expectProtoVersion, serverVersion: expectServerVersion }
    const wrong = bytes(headerHex).findIndex((byte, i) => byte !== frameIdentityBytes(identity)[i])
    assert.equal(feed(recordingDecoder(identity).decoder, bytes(headerHex)), 'BAD_IDENTITY', name)
    const { decoder } = recordingDecoder(identity)
    for (let at = 0; at < wrong; at++) assert.equal(feed(decoder, bytes(headerHex).subarray(at, at + 1)), null)
    assert.equal(feed(decoder, bytes(headerHex).subarray(wrong, wrong + 1)), 'BAD_IDENTITY', name)
  }
})

// The three other vectors call the original's unpack() with 16, 18 and 0 bytes, which returns false or raises. Its receive loop
// never does that, and a stream has no such case: fewer bytes are buffered, more bytes start the next frame.
test('buffers an incomplete header; bytes after a frame start the next one', () => {
  const lengths = vectors.illegal.map(({ headerHex }) => headerHex.length / 2).filter((size) => size !== 17)
  assert.deepEqual(lengths, [16, 18, 0])
  for (const { headerHex } of vectors.illegal.filter(({ headerHex }) => headerHex.length !== 34)) {
    const { decoder, dispatched } = recordingDecoder()
    assert.equal(feed(decoder, bytes(headerHex)), null)
    assert.equal(dispatched.length, headerHex.length > 34 ? 1 : 0)
    assert.equal(decoder.bufferedBytes, (headerHex.length / 2) % HEADER_BYTES)
  }
})

// One difference: the original buffers the bytes after an illegal header until the socket is closed (18 and 38 bytes in two of
// the vectors); our decoder is unusable after a throw, so its buffer has no meaning.
for (const { name, head, protoVersion, serverVersion, chunksHex, expected } of vectors.streams) {
  test(`decodes the original's stream: ${name}`, () => {
    const { decoder, dispatched } = recordingDecoder({ head, protoVersion, serverVersion })
    const reason = feed(decoder, ...chunksHex.map(bytes))
    assert.deepEqual(dispatched, expected.dispatched)
    assert.equal(reason, expected.closed ? 'BAD_IDENTITY' : null)
    if (!expected.closed) assert.equal(decoder.bufferedBytes, expected.bufferedBytes)
  })
}

// The original treats a length below 4 as a body of negative length and continues with a damaged stream; it has no maximum
// length. Here the header alone is rejected.
test('rejects a length below 4 or above the limit from the header alone', () => {
  for (const length of [0, 1, 2, 3]) assert.equal(feed(recordingDecoder().decoder, header(length)), 'BAD_LENGTH')
  assert.equal(feed(recordingDecoder().decoder, header(4)), null)
  assert.equal(feed(recordingDecoder().decoder, header(MAX + 4)), null)
  for (const length of [MAX + 5, 0x8000_0000, 0xffff_ffff])
    assert.equal(feed(recordingDecoder().decoder, header(length)), 'FRAME_TOO_LARGE')
  assert.throws(() => recordingDecoder().decoder.push(header(70_004)), {
    message: 'frame body 70000 bytes exceeds 65536',
  })
  const { decoder } = recordingDecoder()
  for (const byte of header(3).subarray(0, 16)) assert.equal(feed(decoder, Uint8Array.of(byte)), null)
  assert.equal(feed(decoder, Uint8Array.of(1)), 'BAD_LENGTH')
})

test('delivers the frames before a rejected one', () => {
  for (const bad of [header(3), header(0xffff_ffff), new Uint8Array(17).fill(1)]) {
    const { decoder, dispatched } = recordingDecoder()
    const good = frame(9, bytes('abcd'))
    assert.notEqual(feed(decoder, new Uint8Array([...good, ...good, ...bad])), null)
    assert.deepEqual(dispatched, [
      [9, 'abcd'],
      [9, 'abcd'],
    ])
  }
})

test('buffers every prefix of a frame, and the rest completes it', () => {
  const whole = frame(0xfffffeff, bytes('00112233445566778899'))
  for (let size = 0; size < whole.length; size++) {
    const { decoder, dispatched } = recordingDecoder()
    assert.equal(feed(decoder, whole.subarray(0, size)), null)
    assert.deepEqual([dispatched.length, decoder.bufferedBytes], [0, size])
    assert.equal(feed(decoder, whole.subarray(size)), null)
    assert.deepEqual(dispatched, [[0xfffffeff, '00112233445566778899']])
    assert.equal(decoder.bufferedBytes, 0)
  }
})

test('a header with a flipped bit is rejected, incomplete, or another command', () => {
  const whole = frame(7, bytes('0102'))
  for (let bit = 0; bit < HEADER_BYTES * 8; bit++) {
    const bad = whole.slice()
    const at = bit >> 3
    bad[at]! ^= 1 << (bit & 7)
    const { decoder, dispatched } = recordingDecoder()
    const reason = feed(decoder, bad)
    if (at < 9) assert.equal(reason, 'BAD_IDENTITY')
    else if (at >= 13) assert.equal(dispatched.length, 1)
    else assert.ok(reason === 'BAD_LENGTH' || reason === 'FRAME_TOO_LARGE' || dispatched.length <= 1)
  }
})

test('random bytes in random pieces give only frames or a ProtocolError', () => {
  const length = fc.constantFrom(0, 3, 4, 5, 20, MAX + 4, MAX + 5, 0xffff_ffff).map(header)
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    length,
    fc.uint8Array({ maxLength: 9 }).map((body) => frame(1, body)),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => void feed(recordingDecoder().decoder, ...pieces)),
    { numRuns: 2_000 },
  )
})

test('delivers the same frames for any chunks', () => {
  const bodies = fc.array(fc.uint8Array({ maxLength: 3_000 }), { minLength: 1, maxLength: 8 })
  const cuts = fc.array(fc.integer({ min: 1, max: 2_500 }), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(bodies, cuts, (sent, sizes) => {
      const stream = Buffer.concat(sent.map((body, i) => frame(i, body)))
      const { decoder, dispatched } = recordingDecoder()
      let at = 0
      for (let i = 0; at < stream.length; i++) {
        const size = sizes[i % sizes.length]!
        assert.equal(feed(decoder, new Uint8Array(stream.subarray(at, at + size))), null)
        at += size
      }
      assert.deepEqual(
        dispatched,
        sent.map((body, i) => [i, hex(body)]),
      )
      assert.equal(decoder.bufferedBytes, 0)
    }),
  )
})

test('a declared length allocates nothing: 200 headers that declare 4 MiB buffer 17 bytes each', () => {
  const length = 4 * 1_048_576
  const before = process.memoryUsage().arrayBuffers
  const decoders = Array.from({ length: 200 }, () => recordingDecoder(DEFAULT_FRAME_IDENTITY, length).decoder)
  for (const decoder of decoders) {
    assert.equal(feed(decoder, header(length + 4)), null)
    assert.equal(decoder.bufferedBytes, HEADER_BYTES)
  }
  const grown = process.memoryUsage().arrayBuffers - before
  assert.ok(grown < length, `${grown} bytes for ${decoders.length} headers`)
})

/** Counts the bytes that `run` copies with `set`, as the decoder does. */
function countCopiedBytes(run: () => void): number {
  const { set } = Uint8Array.prototype
  let sum = 0
  const countingSet = function (this: Uint8Array, from: ArrayLike<number>, at?: number): void {
    sum += from.length
    set.call(this, from, at)
  }
  // The decoder does not count copied bytes itself.
  // oxlint-disable-next-line eslint/no-extend-native
  Object.defineProperty(Uint8Array.prototype, 'set', { value: countingSet, configurable: true })
  try {
    run()
  } finally {
    Reflect.deleteProperty(Uint8Array.prototype, 'set')
  }
  assert.equal(Uint8Array.prototype.set, set)
  return sum
}

test('reassembly copies each byte only a few times, for any chunk size', () => {
  for (const [bodyBytes, pieceBytes] of [
    [65_536, 1],
    [65_536, 1_000],
    [4 * 1_048_576, 1_448],
    [4 * 1_048_576, 65_536],
  ] as const) {
    const body = new Uint8Array(bodyBytes).fill(7)
    const whole = frame(1, body)
    const { decoder, dispatched } = recordingDecoder(DEFAULT_FRAME_IDENTITY, bodyBytes)
    const sum = countCopiedBytes(() => {
      for (let at = 0; at < whole.length; at += pieceBytes) decoder.push(whole.subarray(at, at + pieceBytes))
    })
    assert.equal(dispatched.length, 1)
    // Each byte is copied once into the buffer; the growth of the buffer copies less than twice that.
    assert.ok(sum <= 4 * whole.length, `${sum} bytes copied for ${whole.length} in pieces of ${pieceBytes}`)
  }
})

test('complete frames in one chunk are not copied', () => {
  const chunk = new Uint8Array(Buffer.concat([frame(1, bytes('01')), frame(2, new Uint8Array(5_000))]))
  const { decoder, dispatched } = recordingDecoder()
  assert.equal(
    countCopiedBytes(() => void decoder.push(chunk)),
    0,
  )
  assert.equal(dispatched.length, 2)
})

test('push returns the position of the next frame after a pause', () => {
  const chunk = new Uint8Array(Buffer.concat([1, 2, 3].map((command) => frame(command, bytes('aabb')))))
  const commands: number[] = []
  const decoder: FrameDecoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX, (command) => {
    commands.push(command)
    decoder.pause()
  })
  let at = 0
  for (const expected of [19, 38, 57]) {
    at += decoder.push(chunk.subarray(at))
    assert.equal(at, expected)
  }
  assert.deepEqual(commands, [1, 2, 3])
  assert.equal(decoder.bufferedBytes, 0)
})

test('push returns the consumed bytes of the last chunk after a pause in a split frame', () => {
  const whole = frame(1, bytes('aabbcc'))
  const commands: number[] = []
  const decoder: FrameDecoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX, (command) => {
    commands.push(command)
    decoder.pause()
  })
  assert.equal(decoder.push(whole.subarray(0, 18)), 18)
  const rest = new Uint8Array([...whole.subarray(18), ...frame(2, bytes('')), 0, 0])
  assert.equal(decoder.push(rest), 2)
  assert.equal(decoder.push(rest.subarray(2)), 17)
  assert.equal(decoder.push(rest.subarray(19)), 2)
  assert.deepEqual(commands, [1, 2])
  assert.equal(decoder.bufferedBytes, 2)
})

test('a stopped decoder discards all bytes and delivers nothing', () => {
  const chunk = new Uint8Array([...frame(1, bytes('aa')), ...frame(2, bytes('bb')), 0])
  const commands: number[] = []
  const decoder: FrameDecoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, MAX, (command) => {
    commands.push(command)
    decoder.stop()
  })
  assert.equal(decoder.push(chunk), chunk.length)
  assert.equal(decoder.push(new Uint8Array(17).fill(9)), 17)
  assert.deepEqual(commands, [1])
  assert.equal(decoder.bufferedBytes, 0)
  const partial = recordingDecoder()
  feed(partial.decoder, chunk.subarray(0, 5))
  partial.decoder.stop()
  assert.equal(partial.decoder.bufferedBytes, 0)
})

test('parses the head bytes of a frame identity and rejects anything but four numbers up to 255', () => {
  assert.deepEqual(parseFrameHead('78,37,38,48'), [78, 37, 38, 48])
  assert.deepEqual(parseFrameHead(' 0, 255 ,1,2'), [0, 255, 1, 2])
  for (const text of ['', '1,2,3', '1,2,3,4,5', '1,2,3,256', '1,2,3,-1', '1,2,3,', '0x1,2,3,4', '1e1,2,3,4', '1,2,3,a'])
    assert.equal(parseFrameHead(text), null, text)
})
