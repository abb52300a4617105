// What a lost connection leaves behind: its address is counted for the seats that its session keeps, until it comes back
// or they are free, and nobody else is hurt by it.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { RoutingTable, routingTableOf } from '../../core/game/routing.ts'
import { Engine } from '../../core/engine/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/testing/memory.ts'
import {
  DEFAULT_FRAME_IDENTITY,
  encodeFrame,
  FrameDecoder,
  frameIdentityBytes,
} from '../../core/wire/frame.ts'
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
const EMPTY_BYTES = new Uint8Array(0)
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
  /** The newest WELCOME, undefined = none. */
  welcome(): Welcome | undefined
  errors(): string[]
}

/** A gateway on one clock, with room for MOST connections of an address. */
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
      tokenSigner: {
        sign: (bytes) => createHmac('sha256', 'the secret of the tests').update(bytes).digest(),
      },
      ...options,
    })
  }

  /** Connects from ADDRESS and says this; null = there is no room. */
  connectWith(first: Uint8Array): Player | null {
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
    connection.receive(first)
    this.clock.settle()
    const bodiesOf = (command: number): Uint8Array[] =>
      frames.filter((one) => one.command === command).map(({ body }) => body)
    return {
      connection,
      welcome: () => bodiesOf(MESSAGE.WELCOME).map((body) => decodeWelcome(body, 0, body.length))[0],
      errors: () => bodiesOf(MESSAGE.ERROR).map((body) => decodeError(body, 0, body.length).code),
    }
  }

  /** A session, new or resumed. */
  openSession(
    credentials: Pick<Welcome, 'session' | 'token'> = { session: new Uint8Array(16), token: EMPTY_BYTES },
  ): Player {
    const player = this.connectWith(helloFrame(credentials))
    assert.ok(player, 'there is no room')
    return player
  }

  disconnect(player: Player): void {
    player.connection.onTransportClosed(false)
    this.clock.settle()
  }

  /** Nobody new is let in, though a connection may still say who it is. */
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

test('a seat counts for its address alone, and only whoever returns may come while the address is full', () => {
  const census = new ConnectionLimiter(LIMITS)
  const seats = [1, 2, 3].map(() => assertAdmitted(census.admit(ADDRESS)))
  for (const seat of seats) seat.reserveForResume()
  assert.deepEqual([census.openConnections, census.unauthenticated, census.addressCount], [0, 0, 1])
  const stranger = assertAdmitted(census.admit(ADDRESS))
  assert.equal(
    stranger.confirmFirstFrame(false)?.message,
    '3 connections and kept seats of this address stand, at most 3 may',
  )
  assert.equal(census.rejections.address, 1)
  const known = assertAdmitted(census.admit(ADDRESS))
  assert.equal(known.confirmFirstFrame(true), null)
  stranger.release()
  seats[0]!.release()
  known.reserveForResume()
  known.reserveForResume()
  for (const entry of [known, ...seats]) entry.release()
  assert.deepEqual([census.openConnections, census.unauthenticated, census.addressCount], [0, 0, 0])
})

test('room that comes free before the first word is room', () => {
  const census = new ConnectionLimiter(LIMITS)
  const seats = [1, 2, 3].map(() => assertAdmitted(census.admit(ADDRESS)))
  for (const seat of seats) seat.reserveForResume()
  const stranger = assertAdmitted(census.admit(ADDRESS))
  seats[0]!.release()
  assert.equal(stranger.confirmFirstFrame(false), null)
})

test('of more sessions than may linger the oldest is let go', () => {
  const clock = new ManualClock()
  const census = new ConnectionLimiter(LIMITS)
  const lingering = new ResumeReservations(clock, 2)
  for (const name of ['a', 'b', 'c']) lingering.reserve(name, assertAdmitted(census.admit(ADDRESS)))
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => lingering.has(name)),
    [false, true, true],
  )
  clock.advance(TIMES.lingerMs)
  assert.deepEqual([lingering.reservationCount, census.addressCount], [0, 0])
})

test('lost sessions fill their address until their seats are free, each in its time', () => {
  const bench = new GatewayFixture()
  bench.disconnect(bench.openSession())
  bench.clock.advance(1_000)
  bench.disconnect(bench.openSession())
  bench.disconnect(bench.openSession())
  bench.assertFull()
  assert.ok(
    bench.connectWith(encodeFrame(identity, 1, EMPTY_BYTES))?.connection.isClosed,
    'a legacy client is no different',
  )
  bench.clock.advance(TIMES.lingerMs - 1_000)
  assert.ok(bench.openSession().welcome())
  bench.assertFull()
  bench.clock.advance(1_000)
  assert.ok(bench.openSession().welcome())
  assert.ok(bench.openSession().welcome())
})

test('a lost session comes back to a full address as often as it likes', () => {
  const bench = new GatewayFixture()
  let player = bench.openSession()
  for (let i = 1; i < MAX_PER_ADDRESS; i++) bench.disconnect(bench.openSession())
  for (let i = 0; i < 5; i++) {
    const known = player.welcome()!
    bench.disconnect(player)
    player = bench.openSession(known)
    assert.equal(player.welcome()?.resumed, true)
    bench.assertFull()
  }
})

test('a session that comes back before it was missed counts once', () => {
  const bench = new GatewayFixture()
  for (let i = 2; i < MAX_PER_ADDRESS; i++) bench.disconnect(bench.openSession())
  bench.disconnect(bench.openSession())
  const first = bench.openSession()
  const second = bench.openSession(first.welcome())
  assert.equal(second.welcome()?.resumed, true)
  assert.ok(first.connection.isClosed)
  assert.deepEqual(
    [bench.gateway.connectionCount, bench.gateway.resumeReservations.reservationCount],
    [1, MAX_PER_ADDRESS - 1],
  )
})

test('who has come back and leaves for good is counted for what it has not taken up', () => {
  const bench = new GatewayFixture({ times: { heartbeatMs: 10 * TIMES.lingerMs } })
  for (let i = 0; i < MAX_PER_ADDRESS; i++) {
    const player = bench.openSession()
    bench.disconnect(player)
    bench.openSession(player.welcome()).connection.onTransportClosed(true)
  }
  bench.assertFull()
  bench.clock.advance(TIMES.lingerMs)
  const player = bench.openSession()
  bench.disconnect(player)
  const back = bench.openSession(player.welcome())
  bench.clock.advance(TIMES.lingerMs)
  back.connection.onTransportClosed(true)
  assert.equal(bench.gateway.connectionLimiter.addressCount, 0)
})

test('who leaves for good, a legacy client and who was never welcome keep nothing', () => {
  const bench = new GatewayFixture()
  for (let i = 0; i < 2 * MAX_PER_ADDRESS; i++) {
    bench.openSession().connection.onTransportClosed(true)
    bench.disconnect(bench.connectWith(encodeFrame(identity, 1, EMPTY_BYTES))!)
    bench.openSession({ session: new Uint8Array(16).fill(1), token: EMPTY_BYTES })
  }
  assert.deepEqual(
    [bench.gateway.resumeReservations.reservationCount, bench.gateway.connectionLimiter.addressCount],
    [0, 0],
  )
})

test('a gateway that drains, or does not outlive its connection, keeps nobody', () => {
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
