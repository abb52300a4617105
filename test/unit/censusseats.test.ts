// What a lost connection leaves behind: its address is counted for the seats that its session keeps, until it comes back
// or they are free, and nobody else is hurt by it.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'

import { command, contract, firefly, shard, t } from '../../core/game/index.ts'
import { Door, doorTable } from '../../core/run/door.ts'
import { Engine } from '../../core/run/engine.ts'
import { ManualClock, MemoryLog, MemoryStore } from '../../core/run/memory.ts'
import { DEFAULT_IDENTITY, encodeFrame, FrameDecoder, identityBytes } from '../../core/wire/frame.ts'
import { DEFAULT_LIMITS, TIMES } from '../../core/wire/limits.ts'
import { decodeError, decodeWelcome, encodeHello, MESSAGE, type Welcome } from '../../core/wire/message.ts'
import { Census, type Entry, type Refused } from '../../edge/census.ts'
import type { Connection } from '../../edge/connection.ts'
import { Gateway, type GatewayOptions } from '../../edge/gateway.ts'
import { Lingering } from '../../edge/lingering.ts'

const ADDRESS = '203.0.113.7'
const MOST = 3
const LIMITS = { maxConnections: 10, maxPerAddress: MOST, maxPerLoopback: 6, maxUnproven: 5 }
const NONE = new Uint8Array(0)
const identity = identityBytes(DEFAULT_IDENTITY)

const Hall = contract('hall', { shout: command(1, t.bytes(), t.bytes(), { codec: 'raw' }) })
const game = firefly({
  hall: shard(Hall)
    .public()
    .on('shout', (_c, body) => body),
})

function entered(result: Entry | Refused): Entry {
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
class Bench {
  readonly clock = new ManualClock()
  readonly gateway: Gateway

  constructor(options: Partial<GatewayOptions> = {}) {
    const { clock } = this
    const log = new MemoryLog()
    this.gateway = new Gateway({
      door: new Door(doorTable(game)),
      link: new Engine(game, { clock, store: new MemoryStore(), log }),
      clock,
      log,
      identity: DEFAULT_IDENTITY,
      limits: { ...DEFAULT_LIMITS, maxPerAddress: MOST },
      seal: { sign: (bytes) => createHmac('sha256', 'the secret of the tests').update(bytes).digest() },
      ...options,
    })
  }

  /** Connects from ADDRESS and says this; null = there is no room. */
  come(first: Uint8Array): Player | null {
    const frames: { readonly command: number; readonly body: Uint8Array }[] = []
    const decoder = new FrameDecoder(DEFAULT_IDENTITY, 1 << 24, (command, source, start, end) => {
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
    const said = (command: number): Uint8Array[] =>
      frames.filter((one) => one.command === command).map(({ body }) => body)
    return {
      connection,
      welcome: () => said(MESSAGE.WELCOME).map((body) => decodeWelcome(body, 0, body.length))[0],
      errors: () => said(MESSAGE.ERROR).map((body) => decodeError(body, 0, body.length).code),
    }
  }

  /** A session, new or resumed. */
  session(known: Pick<Welcome, 'session' | 'token'> = { session: new Uint8Array(16), token: NONE }): Player {
    const player = this.come(hello(known))
    assert.ok(player, 'there is no room')
    return player
  }

  lost(player: Player): void {
    player.connection.ended(false)
    this.clock.settle()
  }

  /** Nobody new is let in, though a connection may still say who it is. */
  full(): void {
    const late = this.session()
    assert.deepEqual([late.welcome(), late.errors(), late.connection.over], [undefined, ['OVERLOADED'], true])
  }
}

function hello({ session, token }: Pick<Welcome, 'session' | 'token'>): Uint8Array {
  const body = encodeHello({ minVersion: 2, maxVersion: 2, session, ticket: NONE, token })
  return encodeFrame(identity, MESSAGE.HELLO, body)
}

test('a seat counts for its address alone, and only whoever returns may come while the address is full', () => {
  const census = new Census(LIMITS)
  const seats = [1, 2, 3].map(() => entered(census.enter(ADDRESS)))
  for (const seat of seats) seat.linger()
  assert.deepEqual([census.total, census.unproven, census.addresses], [0, 0, 1])
  const stranger = entered(census.enter(ADDRESS))
  assert.equal(
    stranger.claim(false)?.message,
    '3 connections and kept seats of this address stand, at most 3 may',
  )
  assert.equal(census.refused.address, 1)
  const known = entered(census.enter(ADDRESS))
  assert.equal(known.claim(true), null)
  stranger.leave()
  seats[0]!.leave()
  known.linger()
  known.linger()
  for (const entry of [known, ...seats]) entry.leave()
  assert.deepEqual([census.total, census.unproven, census.addresses], [0, 0, 0])
})

test('room that comes free before the first word is room', () => {
  const census = new Census(LIMITS)
  const seats = [1, 2, 3].map(() => entered(census.enter(ADDRESS)))
  for (const seat of seats) seat.linger()
  const stranger = entered(census.enter(ADDRESS))
  seats[0]!.leave()
  assert.equal(stranger.claim(false), null)
})

test('of more sessions than may linger the oldest is let go', () => {
  const clock = new ManualClock()
  const census = new Census(LIMITS)
  const lingering = new Lingering(clock, 2)
  for (const name of ['a', 'b', 'c']) lingering.keep(name, entered(census.enter(ADDRESS)))
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => lingering.has(name)),
    [false, true, true],
  )
  clock.advance(TIMES.lingerMs)
  assert.deepEqual([lingering.size, census.addresses], [0, 0])
})

test('lost sessions fill their address until their seats are free, each in its time', () => {
  const bench = new Bench()
  bench.lost(bench.session())
  bench.clock.advance(1_000)
  bench.lost(bench.session())
  bench.lost(bench.session())
  bench.full()
  assert.ok(bench.come(encodeFrame(identity, 1, NONE))?.connection.over, 'a legacy client is no different')
  bench.clock.advance(TIMES.lingerMs - 1_000)
  assert.ok(bench.session().welcome())
  bench.full()
  bench.clock.advance(1_000)
  assert.ok(bench.session().welcome())
  assert.ok(bench.session().welcome())
})

test('a lost session comes back to a full address as often as it likes', () => {
  const bench = new Bench()
  let player = bench.session()
  for (let i = 1; i < MOST; i++) bench.lost(bench.session())
  for (let i = 0; i < 5; i++) {
    const known = player.welcome()!
    bench.lost(player)
    player = bench.session(known)
    assert.equal(player.welcome()?.resumed, true)
    bench.full()
  }
})

test('a session that comes back before it was missed counts once', () => {
  const bench = new Bench()
  for (let i = 2; i < MOST; i++) bench.lost(bench.session())
  bench.lost(bench.session())
  const first = bench.session()
  const second = bench.session(first.welcome())
  assert.equal(second.welcome()?.resumed, true)
  assert.ok(first.connection.over)
  assert.deepEqual([bench.gateway.size, bench.gateway.lingering.size], [1, MOST - 1])
})

test('who has come back and leaves for good is counted for what it has not taken up', () => {
  const bench = new Bench({ times: { heartbeatMs: 10 * TIMES.lingerMs } })
  for (let i = 0; i < MOST; i++) {
    const player = bench.session()
    bench.lost(player)
    bench.session(player.welcome()).connection.ended(true)
  }
  bench.full()
  bench.clock.advance(TIMES.lingerMs)
  const player = bench.session()
  bench.lost(player)
  const back = bench.session(player.welcome())
  bench.clock.advance(TIMES.lingerMs)
  back.connection.ended(true)
  assert.equal(bench.gateway.census.addresses, 0)
})

test('who leaves for good, a legacy client and who was never welcome keep nothing', () => {
  const bench = new Bench()
  for (let i = 0; i < 2 * MOST; i++) {
    bench.session().connection.ended(true)
    bench.lost(bench.come(encodeFrame(identity, 1, NONE))!)
    bench.session({ session: new Uint8Array(16).fill(1), token: NONE })
  }
  assert.deepEqual([bench.gateway.lingering.size, bench.gateway.census.addresses], [0, 0])
})

test('a gateway that drains, or does not outlive its connection, keeps nobody', () => {
  const alone = new Bench({ lingers: false })
  alone.lost(alone.session())
  assert.equal(alone.gateway.census.addresses, 0)
  const draining = new Bench()
  draining.lost(draining.session())
  const last = draining.session()
  draining.gateway.shutdown()
  draining.clock.settle()
  assert.ok(last.connection.over)
  assert.equal(draining.gateway.census.addresses, 0)
})
