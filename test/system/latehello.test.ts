// A HELLO that arrives after its client has given the connection up and resumed on another one: the session goes on, and
// no durable call is lost or runs twice.

import assert from 'node:assert/strict'
import { connect as dialServer, createServer, type AddressInfo, type Socket } from 'node:net'
import test from 'node:test'

import { connect } from '../../client/index.ts'
import { dialTcp } from '../../client/tcp.ts'
import { Market, Purse } from '../../examples/market/contract.ts'
import { serve } from '../support/program.ts'
import { waitFor } from '../support/wait.ts'

/** The SDK's own connection; of its number 2 the HELLO is kept, of 3 all that follows HELLO until `late` was answered. */
class DelayingProxy {
  readonly server = createServer((client) => this.#accept(client))
  readonly #port: number
  readonly #sockets: Socket[] = []
  #accepted = 0
  #late: Buffer | null = null
  isLateAnswered = false

  constructor(port: number) {
    this.#port = port
  }

  get accepted(): number {
    return this.#accepted
  }

  cut(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy()
  }

  close(): void {
    this.cut()
    this.server.close()
  }

  #accept(client: Socket): void {
    this.#track(client)
    const number = ++this.#accepted
    if (number === 2) {
      client.once('data', (hello: Buffer) => {
        this.#late = hello
        client.destroy()
      })
      return
    }
    const upstream = this.#dial()
    upstream.on('data', (bytes: Buffer) => client.write(bytes)).on('close', () => client.destroy())
    client.on('close', () => upstream.destroy())
    if (number !== 3) return void client.on('data', (bytes: Buffer) => upstream.write(bytes))
    client.once('data', (hello: Buffer) => {
      client.pause()
      upstream.write(hello)
      upstream.once('data', () => this.#sendLate(() => client.on('data', (bytes) => upstream.write(bytes)).resume()))
    })
  }

  #sendLate(onAnswered: () => void): void {
    const upstream = this.#dial()
    upstream.write(this.#late!)
    upstream.once('data', () => {
      this.isLateAnswered = true
      onAnswered()
    })
  }

  #dial(): Socket {
    return this.#track(dialServer(this.#port, '127.0.0.1'))
  }

  #track(socket: Socket): Socket {
    this.#sockets.push(socket.on('error', () => {}))
    return socket
  }
}

test('a late HELLO of a connection that was given up ends no session, and durable calls run once', async (t) => {
  const program = await serve('examples/market')
  const proxy = new DelayingProxy(program.tcp.port)
  await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve))
  t.after(() => proxy.close())
  const session = await connect(`tcp://127.0.0.1:${(proxy.server.address() as AddressInfo).port}`, { dial: dialTcp })
  t.after(() => session.close())
  await session.at(Market).open({ player: 'ada' })
  const purse = session.at(Purse)
  assert.deepEqual(await purse.deposit({ amount: 1, id: 'first' }), { gold: 1 })

  proxy.cut()
  const during = Array.from({ length: 5 }, (_, i) => purse.deposit({ amount: 1, id: `during-${i}` }))
  assert.deepEqual((await Promise.all(during)).at(-1), { gold: 6 })
  await waitFor(() => proxy.accepted >= 4, 'the SDK dials once more after REPLACED')
  assert.equal(proxy.isLateAnswered, true)
  assert.deepEqual(await purse.balance({}), { gold: 6 })
  await program.stop()
})
