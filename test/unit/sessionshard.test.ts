// How long the session shard stores which tokens of a session before its login are revoked.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Engine } from '../../core/engine/engine.ts'
import { command, contract, firefly, service } from '../../core/game/index.ts'
import { NEW_CHANNEL_DEFAULTS } from '../../core/ports/link.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { hexOf } from '../../core/wire/bytes.ts'
import { msgpack } from '../../core/wire/codec.ts'
import { TIMES } from '../../core/wire/limits.ts'
import { Session } from '../../core/wire/systemcontract.ts'
import { sessionShardKey } from '../../core/wire/systemshards.ts'
import { IGNORING_CHANNEL_OUT } from '../support/channelout.ts'

const MINUTE_MS = 60_000
const session = new Uint8Array(16).fill(7)

test('revoked tokens stay refused as long as they are valid, however often a session resumes within an hour', () => {
  const clock = new ManualClock(1)
  const game = firefly({ lobby: service(contract('lobby', { look: command(1, {}) })).on('look', () => {}) })
  const engine = new Engine(game, { clock, log: new MemoryLog(), store: new MemoryStore() })
  const answers: string[] = []
  let requests = 0
  const resume = (generation: number): string | undefined => {
    const shard = { contract: Session.name, key: sessionShardKey(hexOf(session)) }
    const channel = engine.open(
      { ...NEW_CHANNEL_DEFAULTS, shard, session, channel: ++requests },
      {
        ...IGNORING_CHANNEL_OUT,
        reply: (_sequence, _command, body) => answers.push(JSON.stringify(msgpack.decode(body))),
        error: (_sequence, _command, _kind, code) => answers.push(code),
      },
    )
    const input = { session: hexOf(session), epoch: 0, generation }
    channel.submitCall(1, Session.entries.resume.number, 0, 0, msgpack.encode(input))
    clock.settle()
    channel.closeChannel(true)
    return answers.at(-1)
  }

  assert.equal(resume(1), '{"generation":2}')
  clock.advance(50 * MINUTE_MS)
  assert.equal(resume(2), '{"generation":3}')
  // A token that the second resume revoked was signed at most a moment before it.
  clock.advance(TIMES.tokenMs - MINUTE_MS)
  assert.equal(resume(1), 'BAD_TOKEN')
  assert.equal(resume(2), '{"generation":4}')
  clock.advance(65 * MINUTE_MS)
  assert.equal(resume(1), 'BAD_TOKEN')
  // Nothing is stored about a session whose last token has expired: the gateway refuses it by its time.
  clock.advance(TIMES.tokenMs + 61 * MINUTE_MS)
  assert.equal(resume(1), '{"generation":2}')
})
