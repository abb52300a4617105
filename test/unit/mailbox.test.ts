// One shard's mailbox: first in, first out, also after items were removed and after the ring has grown.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Mailbox } from '../../core/engine/mailbox.ts'

function drain<T>(mailbox: Mailbox<T>): T[] {
  const out: T[] = []
  for (let item = mailbox.shift(); item !== undefined; item = mailbox.shift()) out.push(item)
  return out
}

test('shifts items in the order of their pushes', () => {
  const mailbox = new Mailbox<number>(10)
  for (const item of [3, 1, 2]) assert.equal(mailbox.push(item), true)
  assert.deepEqual(drain(mailbox), [3, 1, 2])
  assert.equal(mailbox.shift(), undefined)
  assert.equal(mailbox.size, 0)
})

test('rejects a push when full, and retains its items', () => {
  const mailbox = new Mailbox<number>(2)
  assert.deepEqual([mailbox.push(1), mailbox.push(2), mailbox.push(3)], [true, true, false])
  assert.equal(mailbox.size, 2)
  mailbox.shift()
  assert.equal(mailbox.push(4), true)
  assert.deepEqual(drain(mailbox), [2, 4])
})

test('pushAlways appends above the bound', () => {
  const mailbox = new Mailbox<number>(1)
  mailbox.push(1)
  mailbox.pushAlways(2)
  assert.equal(mailbox.push(3), false)
  assert.deepEqual(drain(mailbox), [1, 2])
})

test('preserves the order when the ring grows, from any position', () => {
  for (let offset = 0; offset < 8; offset++) {
    const mailbox = new Mailbox<number>(1_000)
    for (let i = 0; i < offset; i++) {
      mailbox.push(-1)
      mailbox.shift()
    }
    const items = Array.from({ length: 100 }, (_, i) => i)
    for (const item of items) mailbox.push(item)
    assert.deepEqual(drain(mailbox), items)
  }
})

test('removeUnless splits the items and preserves the order of both parts', () => {
  const mailbox = new Mailbox<number>(100)
  for (let i = 0; i < 20; i++) mailbox.push(i)
  for (let i = 0; i < 5; i++) mailbox.shift()
  assert.deepEqual(
    mailbox.removeUnless((item) => item % 3 === 0),
    [5, 7, 8, 10, 11, 13, 14, 16, 17, 19],
  )
  assert.deepEqual(drain(mailbox), [6, 9, 12, 15, 18])
  assert.deepEqual(
    mailbox.removeUnless(() => true),
    [],
  )
})

test('behaves like an array for any sequence of operations', () => {
  const operation = fc.oneof(
    { weight: 4, arbitrary: fc.constant({ what: 'push' as const }) },
    { weight: 2, arbitrary: fc.constant({ what: 'always' as const }) },
    { weight: 3, arbitrary: fc.constant({ what: 'shift' as const }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('sift' as const), by: fc.integer({ min: 1, max: 4 }) }) },
  )
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), fc.integer({ min: 0, max: 40 }), (operations, limit) => {
      const mailbox = new Mailbox<number>(limit)
      let model: number[] = []
      let next = 0
      for (const operation of operations) {
        const item = next++
        if (operation.what === 'push') {
          const isAccepted = model.length < limit
          assert.equal(mailbox.push(item), isAccepted)
          if (isAccepted) model.push(item)
        } else if (operation.what === 'always') {
          mailbox.pushAlways(item)
          model.push(item)
        } else if (operation.what === 'shift') assert.equal(mailbox.shift(), model.shift())
        else {
          const keep = (value: number): boolean => value % operation.by === 0
          assert.deepEqual(
            mailbox.removeUnless(keep),
            model.filter((value) => !keep(value)),
          )
          model = model.filter(keep)
        }
        assert.equal(mailbox.size, model.length)
      }
      assert.deepEqual(drain(mailbox), model)
    }),
  )
})
