// The mark of a channel: each call begins once, and an overtaken one is acknowledged once.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CallMark } from '../../core/channel/callmark.ts'

test('a call begins once, and is answered again after its commit only', () => {
  const calls = new CallMark()
  assert.equal(calls.begin(3), 'begun')
  assert.equal(calls.begin(3), 'ignored')
  calls.commit(3)
  assert.deepEqual([calls.begin(3), calls.begin(2), calls.begin(4)], ['committed', 'committed', 'begun'])
  assert.deepEqual([calls.begun, calls.committed], [4, 3])
})

test('an overtaken call is acknowledged once, when the calls up to it are committed', () => {
  const calls = new CallMark()
  calls.begin(1)
  calls.begin(5)
  assert.deepEqual([calls.begin(4), calls.begin(2)], ['ignored', 'ignored'])
  calls.commit(1)
  assert.equal(calls.takeOvertaken(), false)
  calls.commit(5)
  assert.deepEqual([calls.takeOvertaken(), calls.takeOvertaken()], [true, false])
})

test('a commit of an earlier call does not lower the mark', () => {
  const calls = new CallMark()
  calls.commit(5)
  calls.commit(4)
  assert.equal(calls.committed, 5)
})

test('another activation starts at the committed mark, without overtaken calls', () => {
  const calls = new CallMark()
  calls.begin(5)
  calls.begin(2)
  calls.restart(1)
  calls.commit(5)
  assert.equal(calls.takeOvertaken(), false)
  assert.deepEqual([calls.begin(1), calls.begun], ['committed', 1])
})

test('after a refusal no call begins, not even in another activation', () => {
  const calls = new CallMark()
  calls.refuse()
  calls.restart(0)
  assert.deepEqual([calls.begin(1), calls.begun], ['ignored', 0])
})
