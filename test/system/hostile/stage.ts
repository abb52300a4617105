// Where attacks are proved: a server process on real sockets, two well-behaved players who call all the time, and the
// figures of /metrics. An attack holds when its verdict was seen, its counters rose, no connection was closed for
// any other reason, and both players are still answered.

import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { after, before, test } from 'node:test'
import { until } from '../../conformance/sockets.ts'
import { temporaryFolder } from '../program.ts'
import { hello, IDENTITY, open, type Greeting } from './frames.ts'
import { Neighbours } from './neighbours.ts'
import { Peer } from './peer.ts'
import type { Overrides, Told } from './server.ts'
import type { Suite } from './suites.ts'
import { upgrade, WebSocketPeer } from './websocket.ts'

/** One row of docs/hostile.md. */
export interface Attack {
  /** A sentence: the test's name. */
  readonly name: string
  /** What the peer sees, as the row says it. */
  readonly verdict: string
  /** Which counters rise, and by how much at least. */
  readonly counters: Readonly<Record<string, number>>
  /** Attacks, and asserts the verdict. */
  run(stage: Stage): Promise<void>
}

/** The counter of closed connections. */
export function closes(reason: string, count = 1): Record<string, number> {
  return { [`firefly_closes_total{reason="${reason}"}`]: count }
}

/** The counter of errors that version 2 sessions were told. */
export function errors(code: string, count = 1): Record<string, number> {
  return { [`firefly_errors_total{code="${code}"}`]: count }
}

/** The counter of what the listeners turn away themselves. */
export function refusals(reason: string, count = 1): Record<string, number> {
  return { [`firefly_refused_total{reason="${reason}"}`]: count }
}

/** What a player may wait for an answer while its server is attacked; generous, as machines of CI stall by themselves. */
const PATIENCE_MS = 4_000
/** Answers that each player must get after the attack. */
const ANSWERS = 5
/** What the players' calls raise as well, each by one. */
const SHARED = new Set(['firefly_frames_in_total', 'firefly_turns_total'])

/** Registers a test for each attack, all on one server. */
export function prove({ attacks, overrides }: Suite): void {
  let stage: Stage
  before(async () => void (stage = await Stage.open(overrides)))
  after(() => stage?.close())
  for (const attack of attacks) test(attack.name, { timeout: 30_000 }, () => stage.prove(attack))
}

export class Stage {
  readonly ports: Told
  readonly neighbours: Neighbours
  readonly #child: ChildProcess
  #peers: Peer[] = []

  private constructor(child: ChildProcess, ports: Told, neighbours: Neighbours) {
    this.#child = child
    this.ports = ports
    this.neighbours = neighbours
  }

  static async open(overrides: Overrides): Promise<Stage> {
    const args = [temporaryFolder(), JSON.stringify(IDENTITY), JSON.stringify(overrides)]
    const options = { execPath: process.execPath, execArgv: ['--expose-gc'] }
    const child = fork(new URL('server.ts', import.meta.url), args, options)
    const ports = await new Promise<Told>((resolve, reject) => {
      child.once('message', (told) => resolve(told as Told))
      child.once('exit', (code) => reject(new Error(`the server ended with ${code} before it listened`)))
    })
    return new Stage(child, ports, await Neighbours.arrive(ports, overrides.game === 'club'))
  }

  async prove(attack: Attack): Promise<void> {
    const earlier = await this.metrics()
    const begun = this.neighbours.total
    this.neighbours.worstMs = 0
    try {
      await attack.run(this)
      await this.#counted(attack, earlier, begun)
      const { sdk, legacy } = this.neighbours.answers
      const answered = (): boolean =>
        this.neighbours.answers.sdk >= sdk + ANSWERS && this.neighbours.answers.legacy >= legacy + ANSWERS
      await until(() => answered() || this.neighbours.failures.length > 0, 'answers to the players beside it')
      assert.deepEqual(this.neighbours.failures, [], 'the players beside it')
      assert.ok(this.neighbours.worstMs < PATIENCE_MS, `a player waited ${this.neighbours.worstMs} ms`)
    } finally {
      for (const peer of this.#peers) peer.socket.destroy()
      this.#peers = []
    }
  }

  /** A TCP connection of the attacker. */
  async dial(): Promise<Peer> {
    const peer = await Peer.dial(this.ports.tcp)
    this.#peers.push(peer)
    return peer
  }

  /** A version 2 session on TCP, with channel 1 open unless it logs in or comes back. */
  async session(greeting: Greeting = {}): Promise<Peer> {
    const peer = await this.dial()
    const isNew = !greeting.ticket && !greeting.token
    await peer.send(hello(greeting), ...(isNew ? [open(1)] : []))
    await peer.hears(isNew ? 2 : 1)
    peer.welcome()
    return peer
  }

  /** The same to the HTTP port. */
  async dialHttp(): Promise<Peer> {
    const peer = await Peer.dial(this.ports.http)
    peer.reads(() => {})
    this.#peers.push(peer)
    return peer
  }

  /** A WebSocket of the attacker, upgraded as `request` says, with bytes right behind it. */
  async web(request: string = upgrade(), ...behind: readonly Uint8Array[]): Promise<WebSocketPeer> {
    const web = await WebSocketPeer.dial(this.ports.http, request, ...behind)
    this.#peers.push(web.peer)
    return web
  }

  /** All figures of the server by name and labels. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    assert.equal(this.#child.exitCode, null, 'the server process has ended')
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
  async figure(name: string, good: (value: number) => boolean): Promise<number> {
    const deadlineMs = performance.now() + PATIENCE_MS
    for (;;) {
      const value = (await this.metrics()).get(name) ?? 0
      if (good(value) || performance.now() > deadlineMs) return value
    }
  }

  /** Bytes of the server's buffers, garbage excluded; waits until they are at most `most`, or no longer for it. */
  async buffers(most = Infinity): Promise<number> {
    const deadlineMs = performance.now() + PATIENCE_MS
    for (;;) {
      const told = new Promise<number>((resolve) =>
        this.#child.once('message', (bytes) => resolve(bytes as number)),
      )
      this.#child.send('buffers')
      const bytes = await told
      if (bytes <= most || performance.now() > deadlineMs) return bytes
    }
  }

  async close(): Promise<void> {
    await this.neighbours.leave()
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }

  async #counted({ counters }: Attack, earlier: ReadonlyMap<string, number>, begun: number): Promise<void> {
    // Of each player one call may have been counted before, and answered since.
    const theirs = this.neighbours.total - begun - 2
    let now = await this.metrics()
    const rise = (name: string): number =>
      (now.get(name) ?? 0) - (earlier.get(name) ?? 0) - (SHARED.has(name) ? theirs : 0)
    const deadlineMs = performance.now() + PATIENCE_MS
    while (Object.entries(counters).some(([name, least]) => rise(name) < least)) {
      if (performance.now() > deadlineMs) break
      now = await this.metrics()
    }
    for (const [name, least] of Object.entries(counters))
      assert.ok(rise(name) >= least, `${name} rose by ${rise(name)} instead of ${least}`)
    // A peer may also just go; nobody may be closed, or told an error, for what this attack is not.
    const others = [...now.keys()].filter(
      (name) => /^firefly_(closes|strikes)_total/.test(name) && !name.includes('"PEER"'),
    )
    for (const name of others)
      assert.ok(rise(name) <= (counters[name] ?? 0), `${name} rose by ${rise(name)} too`)
    for (const name of now.keys())
      if (name.startsWith('firefly_errors_total') && !(name in counters))
        assert.equal(rise(name), 0, `${name} rose too`)
  }
}
