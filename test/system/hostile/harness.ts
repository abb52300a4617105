// Where attacks are proved: a server process on real sockets, two well-behaved players who call all the time, and the
// figures of /metrics. An attack holds when its verdict was seen, its counters rose, no connection was closed for
// any other reason, and both players are still answered.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { temporaryFolder } from '../../support/program.ts'
import { ServerProcess, type Ready } from '../../support/serverprocess.ts'
import { waitUntil } from '../../support/sockets.ts'
import { helloFrame, openFrame, type HelloFields } from './frames.ts'
import { ControlPlayers } from './controlplayers.ts'
import { RawPeer } from './peer.ts'
import type { BufferReport, HostileOrder, Overrides } from './server.ts'
import type { Suite } from './suites.ts'
import { upgradeRequest, WebSocketPeer } from './websocket.ts'

/** One row of docs/hostile.md. */
export interface Attack {
  /** A sentence: the test's name. */
  readonly name: string
  /** What the peer sees, as the row says it. */
  readonly verdict: string
  /** Which counters rise, and by how much at least. */
  readonly counters: Readonly<Record<string, number>>
  /** Attacks, and asserts the verdict. */
  run(stage: AttackHarness): Promise<void>
}

/** The counter of closed connections. */
export function closeCounter(reason: string, count = 1): Record<string, number> {
  return { [`firefly_closes_total{reason="${reason}"}`]: count }
}

/** The counter of errors that version 2 sessions were told. */
export function errorCounter(code: string, count = 1): Record<string, number> {
  return { [`firefly_errors_total{code="${code}"}`]: count }
}

/** The counter of what the listeners turn away themselves. */
export function refusalCounter(reason: string, count = 1): Record<string, number> {
  return { [`firefly_refused_total{reason="${reason}"}`]: count }
}

/** What a player may wait for an answer while its server is attacked; generous, as machines of CI stall by themselves. */
const TIMEOUT_MS = 4_000
/** Answers that each player must get after the attack. */
const ANSWERS_AFTER = 5
/** What the players' calls raise as well, each by one. */
const SHARED_COUNTERS = new Set(['firefly_frames_in_total', 'firefly_turns_total'])

/** Registers a test for each attack, all on one server. */
export function registerAttacks({ attacks, overrides }: Suite): void {
  let harness: AttackHarness
  before(async () => void (harness = await AttackHarness.startServer(overrides)))
  after(() => harness?.close())
  for (const attack of attacks) test(attack.name, { timeout: 30_000 }, () => harness.runAttack(attack))
}

export class AttackHarness {
  readonly ports: Ready
  readonly controls: ControlPlayers
  readonly #server: ServerProcess<BufferReport>
  #peers: RawPeer[] = []

  private constructor(server: ServerProcess<BufferReport>, ports: Ready, neighbours: ControlPlayers) {
    this.#server = server
    this.ports = ports
    this.controls = neighbours
  }

  static async startServer(overrides: Overrides): Promise<AttackHarness> {
    const order: HostileOrder = { dir: temporaryFolder(), overrides }
    const server = new ServerProcess<BufferReport>({
      program: new URL('server.ts', import.meta.url),
      order,
      execArgv: ['--expose-gc'],
      log: (line) => console.error(line),
    })
    const ports = await server.ready
    return new AttackHarness(
      server,
      ports,
      await ControlPlayers.connectPlayers(ports, overrides.game === 'membersgame'),
    )
  }

  async runAttack(attack: Attack): Promise<void> {
    const earlier = await this.readMetrics()
    const answersBefore = this.controls.answerCount
    this.controls.maxLatencyMs = 0
    try {
      await attack.run(this)
      await this.#assertCounters(attack, earlier, answersBefore)
      const { sdk, legacy } = this.controls.answers
      const answered = (): boolean =>
        this.controls.answers.sdk >= sdk + ANSWERS_AFTER && this.controls.answers.legacy >= legacy + ANSWERS_AFTER
      await waitUntil(() => answered() || this.controls.failures.length > 0, 'answers to the players beside it')
      assert.deepEqual(this.controls.failures, [], 'the players beside it')
      assert.ok(this.controls.maxLatencyMs < TIMEOUT_MS, `a player waited ${this.controls.maxLatencyMs} ms`)
    } finally {
      for (const peer of this.#peers) peer.socket.destroy()
      this.#peers = []
    }
  }

  /** A TCP connection of the attacker. */
  async dialTcp(): Promise<RawPeer> {
    const peer = await RawPeer.connect(this.ports.tcp)
    this.#peers.push(peer)
    return peer
  }

  /** A version 2 session on TCP, with channel 1 open unless it logs in or comes back. */
  async openSession(greeting: HelloFields = {}): Promise<RawPeer> {
    const peer = await this.dialTcp()
    const isNew = !greeting.ticket && !greeting.token
    await peer.send(helloFrame(greeting), ...(isNew ? [openFrame(1)] : []))
    await peer.waitForFrames(isNew ? 2 : 1)
    peer.welcome()
    return peer
  }

  /** The same to the HTTP port. */
  async dialHttp(): Promise<RawPeer> {
    const peer = await RawPeer.connect(this.ports.http)
    peer.replaceReader(() => {})
    this.#peers.push(peer)
    return peer
  }

  /** A WebSocket of the attacker, upgraded as `request` says, with bytes right behind it. */
  async dialWebSocket(request: string = upgradeRequest(), ...behind: readonly Uint8Array[]): Promise<WebSocketPeer> {
    const web = await WebSocketPeer.connect(this.ports.http, request, ...behind)
    this.#peers.push(web.peer)
    return web
  }

  /** All figures of the server by name and labels. */
  async readMetrics(): Promise<ReadonlyMap<string, number>> {
    assert.ok(this.#server.isRunning, 'the server process has ended')
    const text = await (await fetch(`http://127.0.0.1:${this.ports.http}/metrics`)).text()
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return new Map(
      lines.map((line) => {
        const cut = line.lastIndexOf(' ')
        return [line.slice(0, cut), Number(line.slice(cut + 1))]
      }),
    )
  }

  /** Waits until a figure is as it should be; gives it, good or not, after the players' patience. */
  async waitForMetric(name: string, isExpected: (value: number) => boolean): Promise<number> {
    const deadlineMs = performance.now() + TIMEOUT_MS
    for (;;) {
      const value = (await this.readMetrics()).get(name) ?? 0
      if (isExpected(value) || performance.now() > deadlineMs) return value
    }
  }

  /** Bytes of the server's buffers, garbage excluded; waits until they are at most `most`, or no longer for it. */
  async bufferBytes(maxBytes = Infinity): Promise<number> {
    const deadlineMs = performance.now() + TIMEOUT_MS
    for (;;) {
      const { bytes } = (await this.#server.request('buffers'))!
      if (bytes <= maxBytes || performance.now() > deadlineMs) return bytes
    }
  }

  async close(): Promise<void> {
    await this.controls.closePlayers()
    this.#server.kill()
    await this.#server.ended
  }

  async #assertCounters({ counters }: Attack, earlier: ReadonlyMap<string, number>, begun: number): Promise<void> {
    // Of each player one call may have been counted before, and answered since.
    const controlCalls = this.controls.answerCount - begun - 2
    let now = await this.readMetrics()
    const increase = (name: string): number =>
      (now.get(name) ?? 0) - (earlier.get(name) ?? 0) - (SHARED_COUNTERS.has(name) ? controlCalls : 0)
    const deadlineMs = performance.now() + TIMEOUT_MS
    while (Object.entries(counters).some(([name, least]) => increase(name) < least)) {
      if (performance.now() > deadlineMs) break
      now = await this.readMetrics()
    }
    for (const [name, least] of Object.entries(counters))
      assert.ok(increase(name) >= least, `${name} rose by ${increase(name)} instead of ${least}`)
    // A peer may also just go; nobody may be closed, or told an error, for what this attack is not.
    const others = [...now.keys()].filter(
      (name) => /^firefly_(closes|strikes)_total/.test(name) && !name.includes('"PEER"'),
    )
    for (const name of others)
      assert.ok(increase(name) <= (counters[name] ?? 0), `${name} rose by ${increase(name)} too`)
    for (const name of now.keys())
      if (name.startsWith('firefly_errors_total') && !(name in counters))
        assert.equal(increase(name), 0, `${name} rose too`)
  }
}
