// The server under attack: a process with real sockets, the attacker's connections to it, its metrics, and two
// well-behaved players that call it all the time.

import assert from 'node:assert/strict'
import { temporaryFolder } from '../../support/program.ts'
import { ServerProcess, type Ready } from '../../support/serverprocess.ts'
import { DEADLINE_MS, until } from '../../support/wait.ts'
import { ControlPlayers } from './controlplayers.ts'
import { helloAndOpen, helloFrame, type HelloFields } from './frames.ts'
import { RawPeer } from './peer.ts'
import type { BufferReport, HostileOrder, Overrides } from './server.ts'
import { upgradeRequest, WebSocketPeer } from './websocket.ts'

/** How long a metric may take to change. */

export class AttackHarness {
  readonly controls: ControlPlayers
  readonly #ports: Ready
  readonly #server: ServerProcess<BufferReport>
  #peers: RawPeer[] = []

  private constructor(server: ServerProcess<BufferReport>, ports: Ready, controls: ControlPlayers) {
    this.#server = server
    this.#ports = ports
    this.controls = controls
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
    const controls = await ControlPlayers.connectPlayers(ports, overrides.requireLogin === true)
    return new AttackHarness(server, ports, controls)
  }

  /** A TCP connection of the attacker. */
  async dialTcp(): Promise<RawPeer> {
    return this.#track(await RawPeer.connect(this.#ports.tcp))
  }

  /** A connection to the HTTP port. */
  async dialHttp(): Promise<RawPeer> {
    const peer = this.#track(await RawPeer.connect(this.#ports.http))
    peer.replaceReader(() => {})
    return peer
  }

  /** A WebSocket of the attacker, with bytes in the same write as the upgrade. */
  async dialWebSocket(request: string = upgradeRequest(), ...after: readonly Uint8Array[]): Promise<WebSocketPeer> {
    const web = await WebSocketPeer.connect(this.#ports.http, request, ...after)
    this.#track(web.peer)
    return web
  }

  /** A version 2 session on TCP, with channel 1 open unless it logs in or resumes. */
  async openSession(hello: HelloFields = {}): Promise<RawPeer> {
    const peer = await this.dialTcp()
    const isNew = !hello.ticket && !hello.token
    await peer.send(isNew ? helloAndOpen : helloFrame(hello))
    await peer.waitForFrames(isNew ? 2 : 1)
    peer.welcome()
    return peer
  }

  /** Sends this on a TCP connection and waits until the server has closed it. */
  async sendUntilClosed(...parts: readonly Uint8Array[]): Promise<RawPeer> {
    const peer = await this.dialTcp()
    await peer.send(...parts)
    await peer.waitForClose()
    return peer
  }

  /** All metrics of the server by name and labels. */
  async readMetrics(): Promise<ReadonlyMap<string, number>> {
    assert.ok(this.#server.isRunning, 'the server process has ended')
    const text = await (await fetch(`http://127.0.0.1:${this.#ports.http}/metrics`)).text()
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return new Map(
      lines.map((line) => {
        const space = line.lastIndexOf(' ')
        return [line.slice(0, space), Number(line.slice(space + 1))]
      }),
    )
  }

  async readMetric(name: string): Promise<number> {
    return (await this.readMetrics()).get(name) ?? 0
  }

  async waitForMetric(name: string, isExpected: (value: number) => boolean): Promise<void> {
    let value = 0
    const isReached = await until(async () => isExpected((value = await this.readMetric(name))), DEADLINE_MS)
    assert.ok(isReached, `${name} is ${value}`)
  }

  /** Bytes of the server's buffers after a garbage collection. */
  async bufferBytes(): Promise<number> {
    return (await this.#server.request('buffers'))!.bytes
  }

  async waitForBufferBytes(maxBytes: number): Promise<void> {
    let bytes = 0
    const isReached = await until(async () => (bytes = await this.bufferBytes()) <= maxBytes, DEADLINE_MS)
    assert.ok(isReached, `${bytes} bytes in buffers exceed ${maxBytes}`)
  }

  closeConnections(): void {
    for (const peer of this.#peers) peer.socket.destroy()
    this.#peers = []
  }

  async close(): Promise<void> {
    await this.controls.closePlayers()
    this.#server.kill()
    await this.#server.ended
  }

  #track(peer: RawPeer): RawPeer {
    this.#peers.push(peer)
    return peer
  }
}
