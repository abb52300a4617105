// Outbound bytes of a connection: in order, in as few pieces and copies as possible, and never mixed with another connection's.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../core/wire/frame.ts'
import { encodeEvent, encodeReply, MESSAGE } from '../../core/wire/message.ts'
import { WriteBuffer, Slab } from '../../edge/gateway/writebuffer.ts'

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const SLAB_BYTES = 65_536

/** Buffers on one slab, and the memory that it allocated. */
function createBuffers<const N extends number>(count: N): { buffers: WriteBuffer[]; allocated: Uint8Array[] } {
  const allocated: Uint8Array[] = []
  const slab = new Slab((size) => {
    const memory = new Uint8Array(size)
    allocated.push(memory)
    return memory
  })
  return { buffers: Array.from({ length: count }, () => new WriteBuffer(slab, identity)), allocated }
}

const body = (size: number, fill = 1): Uint8Array => new Uint8Array(size).fill(fill)
const frame = (command: number, bytes: Uint8Array): Uint8Array => encodeFrame(identity, command, bytes)
const join = (...parts: Uint8Array[]): string => Buffer.concat(parts).toString('hex')
const hex = (bytes: Uint8Array | null): string | null => bytes && Buffer.from(bytes).toString('hex')

test('returns null when it is empty, also after its bytes were taken', () => {
  const [buffer] = createBuffers(1).buffers
  assert.equal(buffer!.take(), null)
  buffer!.appendFrame(1, body(3))
  assert.equal(buffer!.bytes, 20)
  assert.notEqual(buffer!.take(), null)
  assert.deepEqual([buffer!.bytes, buffer!.take()], [0, null])
})

test('returns the frames and messages of one turn as one view into the slab', () => {
  const { buffers, allocated } = createBuffers(1)
  const [buffer] = buffers
  buffer!.appendFrame(201, body(2, 0xaa))
  buffer!.appendMessage(MESSAGE.REPLY, 1, 2, null, body(3, 0xbb))
  buffer!.appendMessage(MESSAGE.EVENT, 1, 4, 250, body(1, 0xcc))
  const taken = buffer!.take()!
  const reply = encodeReply({ channel: 1, sequence: 2 }, body(3, 0xbb))
  const event = encodeEvent({ channel: 1, sequence: 4, event: 250 }, body(1, 0xcc))
  const expected = [frame(201, body(2, 0xaa)), frame(MESSAGE.REPLY, reply), frame(MESSAGE.EVENT, event)]
  assert.equal(hex(taken), join(...expected))
  assert.equal(allocated.length, 1)
  assert.equal(taken.buffer, allocated[0]!.buffer)
  assert.equal(taken.byteOffset, 0)
})

test('separates the bytes of connections that write alternately', () => {
  const [a, b] = createBuffers(2).buffers
  for (let i = 0; i < 3; i++) {
    a!.appendFrame(i, body(2, 0xa0 + i))
    b!.appendFrame(100 + i, body(3, 0xb0 + i))
  }
  assert.equal(hex(a!.take()), join(...[0, 1, 2].map((i) => frame(i, body(2, 0xa0 + i)))))
  assert.equal(hex(b!.take()), join(...[0, 1, 2].map((i) => frame(100 + i, body(3, 0xb0 + i)))))
})

test('never overwrites bytes that were taken', () => {
  const [a, b] = createBuffers(2).buffers
  a!.appendFrame(1, body(100, 1))
  const first = a!.take()!
  const before = hex(first)
  for (let i = 0; i < 2_000; i++) {
    b!.appendFrame(2, body(100, 2))
    a!.appendFrame(3, body(100, 3))
    if (i % 10 === 0) for (const buffer of [a, b]) buffer!.take()
  }
  assert.equal(hex(first), before)
})

test('keeps the order of broadcast frames among others', () => {
  const [buffer] = createBuffers(1).buffers
  const [first, second] = [frame(50, body(4, 5)), frame(51, body(2, 6))]
  buffer!.appendFrame(1, body(1))
  buffer!.appendEncoded(first)
  buffer!.appendEncoded(second)
  buffer!.appendFrame(2, body(1))
  buffer!.appendFrame(3, body(1))
  buffer!.appendEncoded(first)
  const expected = [frame(1, body(1)), first, second, frame(2, body(1)), frame(3, body(1)), first]
  assert.equal(
    buffer!.bytes,
    expected.reduce((sum, { length }) => sum + length, 0),
  )
  assert.equal(hex(buffer!.take()), join(...expected))
})

test('returns a broadcast frame alone without a copy, to every connection', () => {
  const { buffers, allocated } = createBuffers(3)
  const broadcast = frame(50, body(1_000))
  for (const buffer of buffers) buffer.appendEncoded(broadcast)
  for (const buffer of buffers) assert.equal(buffer.take(), broadcast)
  assert.equal(allocated.length, 1)
})

test('allocates memory of its own for a body larger than a slab', () => {
  const { buffers, allocated } = createBuffers(1)
  const [buffer] = buffers
  const [small, large] = [body(10, 1), body(300_000, 2)]
  buffer!.appendFrame(1, small)
  buffer!.appendFrame(2, large)
  buffer!.appendFrame(3, small)
  assert.equal(hex(buffer!.take()), join(frame(1, small), frame(2, large), frame(3, small)))
  assert.equal(allocated[1]!.length, 300_017)
  buffer!.appendFrame(2, large)
  assert.equal(hex(buffer!.take()), join(frame(2, large)))
})

test('continues in the next slab, and keeps a region that does not fit in one piece', () => {
  const { buffers, allocated } = createBuffers(1)
  const [buffer] = buffers
  const frames = Array.from({ length: 200 }, (_, i) => body(1_000, i))
  for (const [i, bytes] of frames.entries()) buffer!.appendFrame(i, bytes)
  assert.equal(hex(buffer!.take()), join(...frames.map((bytes, i) => frame(i, bytes))))
  const memory = allocated.reduce((sum, { length }) => sum + length, 0)
  assert.ok(memory <= 8 * SLAB_BYTES + 200 * 1_017, `${memory} bytes of memory`)
})

test('returns any writes of any connections as each wrote them', () => {
  const write = fc.record({
    connection: fc.nat(2),
    kind: fc.constantFrom('frame', 'reply', 'event', 'shared', 'take' as const),
    size: fc.oneof(fc.nat(40), fc.constantFrom(0, 65_519, 65_536, 70_000)),
  })
  fc.assert(
    fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
      const { buffers } = createBuffers(3)
      const written: Uint8Array[][] = [[], [], []]
      const check = (connection: number): void => {
        const expected = written[connection]!.splice(0)
        const taken = buffers[connection]!.take()
        assert.ok(Buffer.concat(expected).equals(taken ?? new Uint8Array(0)))
      }
      for (const [i, { connection, kind, size }] of writes.entries()) {
        const [buffer, bytes] = [buffers[connection]!, body(size, i)]
        if (kind === 'take') check(connection)
        else if (kind === 'frame') {
          buffer.appendFrame(i, bytes)
          written[connection]!.push(frame(i, bytes))
        } else if (kind === 'reply') {
          buffer.appendMessage(MESSAGE.REPLY, 7, i, null, bytes)
          written[connection]!.push(frame(MESSAGE.REPLY, encodeReply({ channel: 7, sequence: i }, bytes)))
        } else if (kind === 'event') {
          buffer.appendMessage(MESSAGE.EVENT, 7, i, 250, bytes)
          written[connection]!.push(frame(MESSAGE.EVENT, encodeEvent({ channel: 7, sequence: i, event: 250 }, bytes)))
        } else {
          const encoded = frame(i, bytes)
          buffer.appendEncoded(encoded)
          written[connection]!.push(encoded)
        }
      }
      for (const connection of [0, 1, 2]) check(connection)
    }),
  )
})

test('cuts the bytes into messages at frames; a larger frame is a message of its own', () => {
  const cut = (sizes: readonly number[], max = 100): number[] => {
    const buffer = new WriteBuffer(new Slab(), identity, max)
    for (const [i, size] of sizes.entries()) {
      const bytes = body(size - 17)
      if (i % 2 === 0) buffer.appendFrame(1, bytes)
      else buffer.appendEncoded(frame(1, bytes))
    }
    const cuts = buffer.takeCuts() ?? []
    const { length } = buffer.take() ?? body(0)
    assert.equal(buffer.takeCuts(), null)
    return [...cuts, length].map((end, i) => end - (cuts[i - 1] ?? 0))
  }
  assert.deepEqual(cut([50, 50]), [100])
  assert.deepEqual(cut([50, 51]), [50, 51])
  assert.deepEqual(cut([300]), [300])
  assert.deepEqual(cut([20, 300, 20, 30]), [20, 300, 50])
  assert.deepEqual(cut([20, 20, 20, 20, 20, 20]), [100, 20])
  assert.deepEqual(cut([200, 200, 20], Infinity), [420])
})
