// What a connection has to say: everything in order, in as few pieces and copies as there can be, and never a byte
// of another connection.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { DEFAULT_FRAME_IDENTITY, encodeFrame, frameIdentityBytes } from '../../core/wire/frame.ts'
import { encodeEvent, encodeReply, MESSAGE } from '../../core/wire/message.ts'
import { WriteBuffer, Slab } from '../../edge/gateway/writebuffer.ts'

const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)
const SLAB_BYTES = 65_536

/** Outboxes on one slab, and the memory that it asked for. */
function createBuffers<const N extends number>(count: N): { boxes: WriteBuffer[]; allocated: Uint8Array[] } {
  const allocated: Uint8Array[] = []
  const slab = new Slab((size) => {
    const memory = new Uint8Array(size)
    allocated.push(memory)
    return memory
  })
  return { boxes: Array.from({ length: count }, () => new WriteBuffer(slab, identity)), allocated }
}

const body = (size: number, fill = 1): Uint8Array => new Uint8Array(size).fill(fill)
const frame = (command: number, bytes: Uint8Array): Uint8Array => encodeFrame(identity, command, bytes)
const join = (...parts: Uint8Array[]): string => Buffer.concat(parts).toString('hex')
const hex = (bytes: Uint8Array | null): string | null => bytes && Buffer.from(bytes).toString('hex')

test('nothing to say is null, and again after it was taken', () => {
  const [box] = createBuffers(1).boxes
  assert.equal(box!.take(), null)
  box!.appendFrame(1, body(3))
  assert.equal(box!.bytes, 20)
  assert.notEqual(box!.take(), null)
  assert.deepEqual([box!.bytes, box!.take()], [0, null])
})

test('frames and messages of one turn are one view into the slab, copied once', () => {
  const { boxes, allocated } = createBuffers(1)
  const [box] = boxes
  box!.appendFrame(201, body(2, 0xaa))
  box!.appendMessage(MESSAGE.REPLY, 1, 2, null, body(3, 0xbb))
  box!.appendMessage(MESSAGE.EVENT, 1, 4, 250, body(1, 0xcc))
  const taken = box!.take()!
  const reply = encodeReply({ channel: 1, sequence: 2 }, body(3, 0xbb))
  const event = encodeEvent({ channel: 1, sequence: 4, event: 250 }, body(1, 0xcc))
  const expected = [frame(201, body(2, 0xaa)), frame(MESSAGE.REPLY, reply), frame(MESSAGE.EVENT, event)]
  assert.equal(hex(taken), join(...expected))
  assert.equal(allocated.length, 1)
  assert.equal(taken.buffer, allocated[0]!.buffer)
  assert.equal(taken.byteOffset, 0)
})

test('connections that write in turn get their own bytes, in their own order', () => {
  const [a, b] = createBuffers(2).boxes
  for (let i = 0; i < 3; i++) {
    a!.appendFrame(i, body(2, 0xa0 + i))
    b!.appendFrame(100 + i, body(3, 0xb0 + i))
  }
  assert.equal(hex(a!.take()), join(...[0, 1, 2].map((i) => frame(i, body(2, 0xa0 + i)))))
  assert.equal(hex(b!.take()), join(...[0, 1, 2].map((i) => frame(100 + i, body(3, 0xb0 + i)))))
})

test('what was taken is never written again', () => {
  const [a, b] = createBuffers(2).boxes
  a!.appendFrame(1, body(100, 1))
  const first = a!.take()!
  const before = hex(first)
  for (let i = 0; i < 2_000; i++) {
    b!.appendFrame(2, body(100, 2))
    a!.appendFrame(3, body(100, 3))
    if (i % 10 === 0) for (const box of [a, b]) box!.take()
  }
  assert.equal(hex(first), before)
})

test('a frame of a broadcast keeps its place among the others', () => {
  const [box] = createBuffers(1).boxes
  const [shout, cry] = [frame(50, body(4, 5)), frame(51, body(2, 6))]
  box!.appendFrame(1, body(1))
  box!.appendEncoded(shout)
  box!.appendEncoded(cry)
  box!.appendFrame(2, body(1))
  box!.appendFrame(3, body(1))
  box!.appendEncoded(shout)
  const expected = [frame(1, body(1)), shout, cry, frame(2, body(1)), frame(3, body(1)), shout]
  assert.equal(
    box!.bytes,
    expected.reduce((sum, { length }) => sum + length, 0),
  )
  assert.equal(hex(box!.take()), join(...expected))
})

test('a broadcast alone goes out as it is, to everybody, without a copy', () => {
  const { boxes, allocated } = createBuffers(3)
  const shout = frame(50, body(1_000))
  for (const box of boxes) box.appendEncoded(shout)
  for (const box of boxes) assert.equal(box.take(), shout)
  assert.equal(allocated.length, 1)
})

test('bodies larger than a slab have memory of their own size', () => {
  const { boxes, allocated } = createBuffers(1)
  const [box] = boxes
  const [small, large] = [body(10, 1), body(300_000, 2)]
  box!.appendFrame(1, small)
  box!.appendFrame(2, large)
  box!.appendFrame(3, small)
  assert.equal(hex(box!.take()), join(frame(1, small), frame(2, large), frame(3, small)))
  assert.equal(allocated[1]!.length, 300_017)
  box!.appendFrame(2, large)
  assert.equal(hex(box!.take()), join(frame(2, large)))
})

test('a slab that is full is followed by the next, and the region over the edge stays whole', () => {
  const { boxes, allocated } = createBuffers(1)
  const [box] = boxes
  const frames = Array.from({ length: 200 }, (_, i) => body(1_000, i))
  for (const [i, one] of frames.entries()) box!.appendFrame(i, one)
  assert.equal(hex(box!.take()), join(...frames.map((one, i) => frame(i, one))))
  const memory = allocated.reduce((sum, { length }) => sum + length, 0)
  assert.ok(memory <= 8 * SLAB_BYTES + 200 * 1_017, `${memory} bytes of memory`)
})

test('any writes of any connections come out as each wrote them', () => {
  const write = fc.record({
    who: fc.nat(2),
    what: fc.constantFrom('frame', 'reply', 'event', 'shared', 'take' as const),
    size: fc.oneof(fc.nat(40), fc.constantFrom(0, 65_519, 65_536, 70_000)),
  })
  fc.assert(
    fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
      const { boxes } = createBuffers(3)
      const said: Uint8Array[][] = [[], [], []]
      const check = (who: number): void => {
        const mine = said[who]!.splice(0)
        const taken = boxes[who]!.take()
        assert.ok(Buffer.concat(mine).equals(taken ?? new Uint8Array(0)))
      }
      for (const [i, { who, what, size }] of writes.entries()) {
        const [box, bytes] = [boxes[who]!, body(size, i)]
        if (what === 'take') check(who)
        else if (what === 'frame') {
          box.appendFrame(i, bytes)
          said[who]!.push(frame(i, bytes))
        } else if (what === 'reply') {
          box.appendMessage(MESSAGE.REPLY, 7, i, null, bytes)
          said[who]!.push(frame(MESSAGE.REPLY, encodeReply({ channel: 7, sequence: i }, bytes)))
        } else if (what === 'event') {
          box.appendMessage(MESSAGE.EVENT, 7, i, 250, bytes)
          said[who]!.push(frame(MESSAGE.EVENT, encodeEvent({ channel: 7, sequence: i, event: 250 }, bytes)))
        } else {
          const whole = frame(i, bytes)
          box.appendEncoded(whole)
          said[who]!.push(whole)
        }
      }
      for (const who of [0, 1, 2]) check(who)
    }),
  )
})
