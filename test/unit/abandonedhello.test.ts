// A HELLO whose connection closes while its token or ticket is verified ends no session: that of the token goes on, and the
// player of the ticket stays logged in where it was.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import { contract, firefly, shard } from '../../core/game/index.ts'
import { RoutingTable, routingTableOf } from '../../core/game/routing.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { EMPTY_BYTES } from '../../core/wire/bytes.ts'
import { DEFAULT_FRAME_IDENTITY, FrameDecoder } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS } from '../../core/wire/limits.ts'
import { decodeError, decodeWelcome, encodeHello, MESSAGE, type Welcome } from '../../core/wire/message.ts'
import { Gateway } from '../../edge/gateway/gateway.ts'
import { connectInMemory } from '../../edge/testing/memorynetwork.ts'
import { encodeDefaultFrame } from '../support/rawclient.ts'

const NO_SESSION = { session: new Uint8Array(16), token: EMPTY_BYTES }

/** A gateway whose verification of tokens and tickets waits while `hold` is set. */
function startGateway() {
  const clock = new ManualClock()
  const log = new MemoryLog()
  const game = firefly({ hall: shard(contract('hall', {})) })
  const verification = { hold: null as Promise<void> | null }
  const gateway = new Gateway({
    routingTable: new RoutingTable(routingTableOf(game)),
    link: new Engine(game, { clock, store: new MemoryStore(), log }),
    clock,
    log,
    frameIdentity: DEFAULT_FRAME_IDENTITY,
    limits: DEFAULT_LIMITS,
    tokenSigner: {
      sign: (bytes) => {
        const signature = createHmac('sha256', 'the secret of the tests').update(bytes).digest()
        return verification.hold ? verification.hold.then(() => signature) : signature
      },
    },
    ticketVerifier: {
      verify: async (ticket) => {
        await verification.hold
        return { uid: 'ada', jti: String(ticket[0]), expiresMs: clock.now() + 60_000 }
      },
    },
  })
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) {
      clock.settle()
      await new Promise(setImmediate)
    }
  }
  const connectWith = (ticket: Uint8Array, { session, token }: Pick<Welcome, 'session' | 'token'>) => {
    const received = { welcome: null as Welcome | null, errors: [] as string[] }
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (command, source, start, end) => {
      if (command === MESSAGE.WELCOME) received.welcome = decodeWelcome(source.slice(start, end), 0, end - start)
      if (command === MESSAGE.ERROR) received.errors.push(decodeError(source, start, end).code)
    })
    const connection = connectInMemory(gateway, clock, 'ws', {
      arrived: (bytes) => void decoder.push(bytes.slice()),
      closed: () => {},
    })
    const hello = { minVersion: 2, maxVersion: 2, session, ticket, token }
    connection.send(encodeDefaultFrame(MESSAGE.HELLO, encodeHello(hello)))
    return { connection, received }
  }
  return { verification, settle, connectWith }
}

for (const what of ['token', 'ticket'] as const)
  test(`a HELLO whose connection closes while its ${what} is verified ends no session`, async () => {
    const { verification, settle, connectWith } = startGateway()
    const standing = connectWith(what === 'ticket' ? Uint8Array.of(1) : EMPTY_BYTES, NO_SESSION)
    await settle()
    const { welcome } = standing.received
    assert.ok(welcome)
    const { promise, resolve } = Promise.withResolvers<void>()
    verification.hold = promise
    const abandoned = what === 'ticket' ? connectWith(Uint8Array.of(2), NO_SESSION) : connectWith(EMPTY_BYTES, welcome)
    await settle()
    abandoned.connection.close()
    await settle()
    resolve()
    await settle()
    assert.deepEqual([abandoned.received.welcome, standing.received.errors], [null, []])
  })
