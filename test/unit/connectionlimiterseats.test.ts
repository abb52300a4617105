// Reservations of closed connections: an address counts for the seats of its sessions until they are resumed or expire, and
// other addresses are not affected.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { RoutingTable, routingTableOf } from '../../core/game/routing.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import { EMPTY_BYTES } from '../../core/wire/bytes.ts'
import { DEFAULT_FRAME_IDENTITY, encodeFrame, FrameDecoder, frameIdentityBytes } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS, TIMES } from '../../core/wire/limits.ts'
import { decodeError, decodeWelcome, encodeHello, MESSAGE, type Welcome } from '../../core/wire/message.ts'
import {
  ConnectionLimiter,
  type ConnectionPermit,
  type ConnectionRejection,
} from '../../edge/gateway/connectionlimiter.ts'
import type { Connection } from '../../edge/gateway/connection.ts'
import { Gateway, type GatewayOptions } from '../../edge/gateway/gateway.ts'
import { ResumeReservations } from '../../edge/gateway/resumereservations.ts'

const ADDRESS = '203.0.113.7'
const MAX_PER_ADDRESS = 3
const LIMITS = { maxConnections: 10, maxPerAddress: MAX_PER_ADDRESS, maxPerLoopback: 6, maxUnproven: 5 }
const identity = frameIdentityBytes(DEFAULT_FRAME_IDENTITY)

const Hall = contract('hall', { shout: command(1, t.bytes(), t.bytes(), { codec: 'raw' }) })
const game = firefly({
  hall: shard(Hall)
    .public()
    .on('shout', (_c, body) => body),
})

function assertAdmitted(result: ConnectionPermit | ConnectionRejection): ConnectionPermit {
  assert.equal(result.reason, null)
  return result
}

interface Player {
  readonly connection: Connection
  /** The WELCOME it received; undefined = none. */
  welcome(): Welcome | undefined
  errors(): string[]
}

/** A gateway on a manual clock that accepts MAX_PER_ADDRESS connections of an address. */
class GatewayFixture {
  readonly clock = new ManualClock()
  readonly gateway: Gateway

  constructor(options: Partial<GatewayOptions> = {}) {
    const { clock } = this
    const log = new MemoryLog()
    this.gateway = new Gateway({
      routingTable: new RoutingTable(routingTableOf(game)),
      link: new Engine(game, { clock, store: new MemoryStore(), log }),
      clock,
      log,
      frameIdentity: DEFAULT_FRAME_IDENTITY,
      limits: { ...DEFAULT_LIMITS, maxPerAddress: MAX_PER_ADDRESS },
      tokenSigner: { sign: (bytes) => createHmac('sha256', 'the secret of the tests').update(bytes).digest() },
      ...options,
    })
  }

  /** Connects from ADDRESS and sends a frame; null = the connection was rejected. */
  connectWith(firstFrame: Uint8Array): Player | null {
    const frames: { readonly command: number; readonly body: Uint8Array }[] = []
    const decoder = new FrameDecoder(DEFAULT_FRAME_IDENTITY, 1 << 24, (command, source, start, end) => {
      frames.push({ command, body: source.slice(start, end) })
    })
    const connection = this.gateway.accept({
      kind: 'ws',
      remote: ADDRESS,
      address: ADDRESS,
      bufferedBytes: 0,
      write: (bytes) => void decoder.push(bytes.slice()),
      close: () => {},
      abort: () => {},
    })
    if (!connection) return null
    connection.receive(firstFrame)
    this.clock.settle()
    const bodiesOf = (command: number): Uint8Array[] =>
      frames.filter((frame) => frame.command === command).map(({ body }) => body)
    return {
      connection,
      welcome: () => bodiesOf(MESSAGE.WELCOME).map((body) => decodeWelcome(body, 0, body.length))[0],
      errors: () => bodiesOf(MESSAGE.ERROR).map((body) => decodeError(body, 0, body.length).code),
    }
  }

  /** Opens a new session, or resumes the given one. */
  openSession(
    credentials: Pick<Welcome, 'session' | 'token'> = { session: new Uint8Array(16), token: EMPTY_BYTES },
  ): Player {
    const player = this.connectWith(helloFrame(credentials))
    assert.ok(player, 'the connection was rejected')
    return player
  }

  disconnect(player: Player): void {
    player.connection.onTransportClosed(false)
    this.clock.settle()
  }

  /** Asserts that a new session is rejected; a connection may still send its first frame. */
  assertFull(): void {
    const rejected = this.openSession()
    assert.deepEqual(
      [rejected.welcome(), rejected.errors(), rejected.connection.isClosed],
      [undefined, ['OVERLOADED'], true],
    )
  }
}

function helloFrame({ session, token }: Pick<Welcome, 'session' | 'token'>): Uint8Array {
  const body = encodeHello({ minVersion: 2, maxVersion: 2, session, ticket: EMPTY_BYTES, token })
  return encodeFrame(identity, MESSAGE.HELLO, body)
}

test('counts a reserved seat for its address only, and admits only a resuming session to a full address', () => {
  const limiter = new ConnectionLimiter(LIMITS)
  const seats = [1, 2, 3].map(() => assertAdmitted(limiter.admit(ADDRESS)))
  for (const seat of seats) seat.reserveForResume()
  assert.deepEqual([limiter.counts.open, limiter.counts.unauthenticated, limiter.addressCount], [0, 0, 1])
  const unknown = assertAdmitted(limiter.admit(ADDRESS))
  assert.equal(
    unknown.confirmFirstFrame(false)?.message,
    '3 connections and reserved seats of this address reach the limit of 3',
  )
  assert.equal(limiter.counts.rejections.address, 1)
  const known = assertAdmitted(limiter.admit(ADDRESS))
  assert.equal(known.confirmFirstFrame(true), null)
  unknown.release()
  seats[0]!.release()
  known.reserveForResume()
  known.reserveForResume()
  for (const permit of [known, ...seats]) permit.release()
  assert.deepEqual([limiter.counts.open, limiter.counts.unauthenticated, limiter.addressCount], [0, 0, 0])
})

test('admits a new session when a seat is released before its first frame', () => {
  const limiter = new ConnectionLimiter(LIMITS)
  const seats = [1, 2, 3].map(() => assertAdmitted(limiter.admit(ADDRESS)))
  for (const seat of seats) seat.reserveForResume()
  const unknown = assertAdmitted(limiter.admit(ADDRESS))
  seats[0]!.release()
  assert.equal(unknown.confirmFirstFrame(false), null)
})

test('releases the oldest reservation beyond the limit', () => {
  const clock = new ManualClock()
  const limiter = new ConnectionLimiter(LIMITS)
  const reservations = new ResumeReservations(clock, 2)
  for (const name of ['a', 'b', 'c']) reservations.reserve(name, assertAdmitted(limiter.admit(ADDRESS)))
  const areReserved = ['a', 'b', 'c'].map((name) => reservations.has(name))
  assert.deepEqual(areReserved, [false, true, true])
  clock.advance(TIMES.lingerMs)
  assert.deepEqual([reservations.reservationCount, limiter.addressCount], [0, 0])
})

test('counts closed sessions for their address until their seats expire one by one', () => {
  const fixture = new GatewayFixture()
  fixture.disconnect(fixture.openSession())
  fixture.clock.advance(1_000)
  fixture.disconnect(fixture.openSession())
  fixture.disconnect(fixture.openSession())
  fixture.assertFull()
  assert.ok(
    fixture.connectWith(encodeFrame(identity, 1, EMPTY_BYTES))?.connection.isClosed,
    'a legacy client is rejected as well',
  )
  fixture.clock.advance(TIMES.lingerMs - 1_000)
  assert.ok(fixture.openSession().welcome())
  fixture.assertFull()
  fixture.clock.advance(1_000)
  assert.ok(fixture.openSession().welcome())
  assert.ok(fixture.openSession().welcome())
})

test('resumes a closed session on a full address any number of times', () => {
  const fixture = new GatewayFixture()
  let player = fixture.openSession()
  for (let i = 1; i < MAX_PER_ADDRESS; i++) fixture.disconnect(fixture.openSession())
  for (let i = 0; i < 5; i++) {
    const known = player.welcome()!
    fixture.disconnect(player)
    player = fixture.openSession(known)
    assert.equal(player.welcome()?.resumed, true)
    fixture.assertFull()
  }
})

test('counts a session once that is resumed before its connection closes', () => {
  const fixture = new GatewayFixture()
  for (let i = 2; i < MAX_PER_ADDRESS; i++) fixture.disconnect(fixture.openSession())
  fixture.disconnect(fixture.openSession())
  const first = fixture.openSession()
  const second = fixture.openSession(first.welcome())
  assert.equal(second.welcome()?.resumed, true)
  assert.ok(first.connection.isClosed)
  assert.deepEqual(
    [fixture.gateway.connectionCount, fixture.gateway.resumeReservations.reservationCount],
    [1, MAX_PER_ADDRESS - 1],
  )
})

test('reserves the seats of a resumed session that closes permanently before it has reopened its channels', () => {
  const fixture = new GatewayFixture({ times: { heartbeatMs: 10 * TIMES.lingerMs } })
  for (let i = 0; i < MAX_PER_ADDRESS; i++) {
    const player = fixture.openSession()
    fixture.disconnect(player)
    fixture.openSession(player.welcome()).connection.onTransportClosed(true)
  }
  fixture.assertFull()
  fixture.clock.advance(TIMES.lingerMs)
  const player = fixture.openSession()
  fixture.disconnect(player)
  const back = fixture.openSession(player.welcome())
  fixture.clock.advance(TIMES.lingerMs)
  back.connection.onTransportClosed(true)
  assert.equal(fixture.gateway.connectionLimiter.addressCount, 0)
})

test('reserves nothing for a final close, a legacy client or a rejected session', () => {
  const fixture = new GatewayFixture()
  for (let i = 0; i < 2 * MAX_PER_ADDRESS; i++) {
    fixture.openSession().connection.onTransportClosed(true)
    fixture.disconnect(fixture.connectWith(encodeFrame(identity, 1, EMPTY_BYTES))!)
    fixture.openSession({ session: new Uint8Array(16).fill(1), token: EMPTY_BYTES })
  }
  assert.deepEqual(
    [fixture.gateway.resumeReservations.reservationCount, fixture.gateway.connectionLimiter.addressCount],
    [0, 0],
  )
})

test('reserves nothing in a gateway that drains or serves one connection', () => {
  const alone = new GatewayFixture({ canReserveForResume: false })
  alone.disconnect(alone.openSession())
  assert.equal(alone.gateway.connectionLimiter.addressCount, 0)
  const draining = new GatewayFixture()
  draining.disconnect(draining.openSession())
  const last = draining.openSession()
  draining.gateway.shutdown()
  draining.clock.settle()
  assert.ok(last.connection.isClosed)
  assert.equal(draining.gateway.connectionLimiter.addressCount, 0)
})
