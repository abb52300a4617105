// The legacy frame against what the original code did (schemas/vectors/frames.json), and what it never did: bounded
// memory, linear reassembly, pausing.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import fc from 'fast-check'

import { ProtocolError } from '../../core/wire/errors.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  HEADER_BYTES,
  frameIdentityBytes,
  type FrameIdentity,
} from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'

type Head = readonly [number, number, number, number]
interface Vectors {
  readonly frames: {
    readonly name: string
    readonly head: Head
    readonly protoVersion: number
    readonly serverVersion: number
    readonly command: number
    readonly bodyHex: string
    readonly frameHex: string
  }[]
  readonly illegal: {
    readonly name: string
    readonly expectHead: Head
    readonly expectProtoVersion: number
    readonly expectServerVersion: number
    readonly headerHex: string
  }[]
  readonly streams: {
    readonly name: string
    readonly head: Head
    readonly protoVersion: number
    readonly serverVersion: number
    readonly chunksHex: string[]
    readonly expected: { dispatched: [number, string][]; closed: boolean; bufferedBytes: number }
  }[]
}
const vectors = JSON.parse(readFileSync('schemas/vectors/frames.json', 'utf8')) as Vectors

const MAX = DEFAULT_LIMITS.maxBodyBytes
const plain = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')
const frame = (command: number, body: Uint8Array): Uint8Array => encodeFrame(plain, command, body)
const header = (length: number): Uint8Array =>
  bytes(`${'00'.repeat(9)}${length.toString(16).padStart(8, '0')}00000001`)

interface RecordingDecoder {
  readonly decoder: FrameDecoder
  readonly dispatched: [number, string][]
}
/** A decoder that notes what it delivers. */
function recordingDecoder(
  identity: FrameIdentity = DEFAULT_FRAME_IDENTITY,
  maxBodyBytes = MAX,
): RecordingDecoder {
  const dispatched: [number, string][] = []
  const decoder = new FrameDecoder(identity, maxBodyBytes, (command, source, start, end) => {
    dispatched.push([command, hex(source.subarray(start, end))])
  })
  return { decoder, dispatched }
}

/** The reason for which the stream was closed, or null. */
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
  test(`the original's frame both ways: ${name}`, () => {
    const identity = { head, protoVersion, serverVersion }
    assert.equal(hex(encodeFrame(frameIdentityBytes(identity), command, bytes(bodyHex))), frameHex)
    const { decoder, dispatched } = recordingDecoder(identity)
    assert.equal(feed(decoder, bytes(frameHex)), null)
    assert.deepEqual(dispatched, [[command, bodyHex]])
    assert.equal(decoder.bufferedBytes, 0)
  })
}

test('every head that the original refuses is refused, as soon as its first wrong byte is there', () => {
  const whole = vectors.illegal.filter(({ headerHex }) => headerHex.length === 2 * HEADER_BYTES)
  assert.equal(whole.length, 11)
  for (const { name, expectHead: head, expectProtoVersion, expectServerVersion, headerHex } of whole) {
    const identity = { head, protoVersion: expectProtoVersion, serverVersion: expectServerVersion }
    const wrong = bytes(headerHex).findIndex((byte, i) => byte !== frameIdentityBytes(identity)[i])
    assert.equal(feed(recordingDecoder(identity).decoder, bytes(headerHex)), 'BAD_IDENTITY', name)
    const { decoder } = recordingDecoder(identity)
    for (let at = 0; at < wrong; at++)
      assert.equal(feed(decoder, bytes(headerHex).subarray(at, at + 1)), null)
    assert.equal(feed(decoder, bytes(headerHex).subarray(wrong, wrong + 1)), 'BAD_IDENTITY', name)
  }
})

// The three other vectors call the original's unpack() with 16, 18 and 0 bytes, which answers false or raises. Its own
// receive loop never does that, and a stream has no such case: fewer bytes wait, more begin the next frame.
test('a head that is too short waits, and what follows a head is the next frame', () => {
  const lengths = vectors.illegal.map(({ headerHex }) => headerHex.length / 2).filter((size) => size !== 17)
  assert.deepEqual(lengths, [16, 18, 0])
  for (const { headerHex } of vectors.illegal.filter(({ headerHex }) => headerHex.length !== 34)) {
    const { decoder, dispatched } = recordingDecoder()
    assert.equal(feed(decoder, bytes(headerHex)), null)
    assert.equal(dispatched.length, headerHex.length > 34 ? 1 : 0)
    assert.equal(decoder.bufferedBytes, (headerHex.length / 2) % HEADER_BYTES)
  }
})

// One difference: the original keeps what follows an illegal head in its buffer until the socket is gone (18 and 38
// bytes in two of the vectors); a decoder that has thrown is dead, and what it still holds says nothing.
for (const { name, head, protoVersion, serverVersion, chunksHex, expected } of vectors.streams) {
  test(`the original's stream: ${name}`, () => {
    const { decoder, dispatched } = recordingDecoder({ head, protoVersion, serverVersion })
    const reason = feed(decoder, ...chunksHex.map(bytes))
    assert.deepEqual(dispatched, expected.dispatched)
    assert.equal(reason, expected.closed ? 'BAD_IDENTITY' : null)
    if (!expected.closed) assert.equal(decoder.bufferedBytes, expected.bufferedBytes)
  })
}

// The original takes a length below 4 for a body of negative length and goes on with a broken stream, and has no
// largest length at all (DESIGN.md 4.1). Here the header alone is enough to close.
test('a length below 4 or above the limit closes from the header alone', () => {
  for (const length of [0, 1, 2, 3])
    assert.equal(feed(recordingDecoder().decoder, header(length)), 'BAD_LENGTH')
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

test('frames before a refused one are delivered first', () => {
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

test('every prefix of a frame waits, and the rest completes it', () => {
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

test('every flipped bit of a header is refused, waits for more, or is another command', () => {
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

test('random bytes in random pieces never give anything but frames or a ProtocolError', () => {
  const length = fc.constantFrom(0, 3, 4, 5, 20, MAX + 4, MAX + 5, 0xffff_ffff).map(header)
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    length,
    fc.uint8Array({ maxLength: 9 }).map((body) => frame(1, body)),
  )
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      (pieces) => void feed(recordingDecoder().decoder, ...pieces),
    ),
    { numRuns: 2_000 },
  )
})

test('frames arrive the same however the stream is cut', () => {
  const bodies = fc.array(fc.uint8Array({ maxLength: 3_000 }), { minLength: 1, maxLength: 8 })
  const cuts = fc.array(fc.integer({ min: 1, max: 2_500 }), { minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(bodies, cuts, (given, sizes) => {
      const stream = Buffer.concat(given.map((body, i) => frame(i, body)))
      const { decoder, dispatched } = recordingDecoder()
      let at = 0
      for (let i = 0; at < stream.length; i++) {
        const size = sizes[i % sizes.length]!
        assert.equal(feed(decoder, new Uint8Array(stream.subarray(at, at + size))), null)
        at += size
      }
      assert.deepEqual(
        dispatched,
        given.map((body, i) => [i, hex(body)]),
      )
      assert.equal(decoder.bufferedBytes, 0)
    }),
  )
})

test('a declared length reserves nothing: 200 headers that promise 4 MiB each hold 17 bytes each', () => {
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

/** Bytes that `run` copies with `set`, which is how the decoder copies. */
function countCopiedBytes(run: () => void): number {
  const { set } = Uint8Array.prototype
  let sum = 0
  const countingSet = function (this: Uint8Array, from: ArrayLike<number>, at?: number): void {
    sum += from.length
    set.call(this, from, at)
  }
  // The decoder has no meter of its own, and needs none but here.
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

test('reassembly copies each byte a few times at most, whatever the pieces are', () => {
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
    // Each byte once into the buffer, and doubling moves less than twice of it again.
    assert.ok(sum <= 4 * whole.length, `${sum} bytes copied for ${whole.length} in pieces of ${pieceBytes}`)
  }
})

test('whole frames in one chunk are not copied at all', () => {
  const chunk = new Uint8Array(Buffer.concat([frame(1, bytes('01')), frame(2, new Uint8Array(5_000))]))
  const { decoder, dispatched } = recordingDecoder()
  assert.equal(
    countCopiedBytes(() => void decoder.push(chunk)),
    0,
  )
  assert.equal(dispatched.length, 2)
})

test('a pause gives back where the next frame begins, and the rest is taken later', () => {
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

test('a pause in a frame that came in pieces gives back what its last chunk still holds', () => {
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

test('a decoder that was stopped, even by its sink, takes everything and delivers nothing', () => {
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
