// The login ticket: shown when a session begins, and only then.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { breathe, Door, fate, type Heard } from './clientdoor.ts'

test('a ticket is shown in the HELLO of a new session, not in that of a resume', async () => {
  const door = new Door()
  void door.begin({ ticket: 'jwt' })
  door.line.events.opened()
  assert.deepEqual(door.heard(), [['HELLO', 0, '', 'jwt']])
  door.line.welcome({ token: 'one' })
  await door.redial()
  assert.deepEqual(door.heard(), [['HELLO', 7, 'one', '']])
})

test('a function is asked once for each new session', async () => {
  const door = new Door()
  let asked = 0
  void door.begin({ ticket: () => Promise.resolve(`jwt ${++asked}`) })
  await breathe()
  const hello = (): Heard[] => {
    door.line.events.opened()
    return door.heard()
  }
  assert.deepEqual(hello(), [['HELLO', 0, '', 'jwt 1']])
  door.line.welcome({ token: '' })
  door.line.cut()
  door.clock.advance(200)
  await breathe()
  assert.deepEqual(hello(), [['HELLO', 0, '', 'jwt 2']])
  door.line.welcome({ token: 'one' })
  door.line.cut()
  door.clock.advance(200)
  assert.deepEqual([hello(), asked], [[['HELLO', 7, 'one', '']], 2])
})

test('a function that fails is a failed attempt: it is asked again, later and later', async () => {
  const door = new Door()
  const askedMs: number[] = []
  const begun = door.begin({
    connectMs: 3_000,
    ticket: () => {
      askedMs.push(door.clock.mono())
      if (askedMs.length % 2 === 0) throw new Error('no token service')
      return Promise.reject(new Error('no token service'))
    },
  })
  for (let i = 0; i < 300; i++) {
    await breathe()
    door.clock.advance(10)
  }
  await assert.rejects(begun, /no answer within 3000 ms \(no ticket: no token service\)/)
  const pauses = askedMs.slice(1).map((ms, i) => ms - askedMs[i]!)
  assert.ok(pauses.length >= 3, String(pauses))
  pauses.forEach((ms, i) => assert.ok(ms >= 50 * 2 ** i && ms <= 110 * 2 ** i, `${i}: ${ms} ms`))
  assert.equal(door.lines.length, 0)
})

test('a function that never answers is given up with its attempt, and comes too late then', async () => {
  const door = new Door()
  const answers: ((ticket: string) => void)[] = []
  const begun = fate(
    door.begin({ connectMs: 60_000, ticket: () => new Promise((resolve) => answers.push(resolve)) }),
  )
  door.clock.advance(10_200)
  assert.equal(answers.length, 2)
  answers[0]!('late')
  await breathe()
  assert.equal(door.lines.length, 0)
  answers[1]!('jwt')
  await breathe()
  door.line.events.opened()
  assert.deepEqual(door.heard(), [['HELLO', 0, '', 'jwt']])
  door.line.welcome()
  await breathe()
  assert.notEqual(begun.now, 'waits')
})

test('a ticket that no HELLO holds is refused at once', async () => {
  const door = new Door()
  await assert.rejects(door.begin({ ticket: 'x'.repeat(4_097) }), /ticket of 4097 bytes exceeds 4096/)
})
