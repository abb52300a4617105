// A TCP proxy that can drop its connections silently, like a firewall or NAT that has forgotten them. Invariant: neither
// side of a dropped connection receives anything any more, not even its end; new connections work.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export class BlackholeProxy implements AsyncDisposable {
  readonly #server: Server
  readonly #forwarded = new Set<readonly [Socket, Socket]>()
  readonly #sockets = new Set<Socket>()
  /** Connections that were opened so far. */
  opened = 0

  /** @param target a port of the loopback address */
  static async open(target: number): Promise<BlackholeProxy> {
    const proxy = new BlackholeProxy(target)
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening')
    return proxy
  }

  private constructor(target: number) {
    this.#server = createServer((client) => this.#forward(client, connect(target, '127.0.0.1')))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** The same URL with the port of this proxy. */
  through(url: string): string {
    const proxied = new URL(url)
    proxied.port = String(this.port)
    return proxied.href
  }

  /** Drops every connection that is open now; returns their number. */
  dropAll(): number {
    const dropped = this.#forwarded.size
    for (const [from, to] of this.#forwarded) {
      from.unpipe(to).resume()
      to.unpipe(from).resume()
    }
    this.#forwarded.clear()
    return dropped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #forward(client: Socket, server: Socket): void {
    this.opened++
    const pair = [client, server] as const
    this.#forwarded.add(pair)
    for (const [socket, other] of [pair, [server, client]] as const) {
      this.#sockets.add(socket)
      socket.pipe(other)
      socket.on('error', () => {})
      socket.once('close', () => {
        this.#sockets.delete(socket)
        if (this.#forwarded.delete(pair)) other.destroy()
      })
    }
  }
}
