// A child of `bench idle`: `node sessions.ts TRANSPORT PORT` holds idle version 2 sessions, each with one open channel
// and its heartbeat.

import { TIMES } from '../../../core/wire/limits.ts'
import { serveRequests } from '../attack/responder.ts'
import { RawClient, type RawClientOptions, type Transport } from '../../support/rawclient.ts'

/** Connections that open at the same time: the gateway limits unauthenticated connections. */
const MAX_CONCURRENT = 100
const PING_STEP_MS = 20

const [transport, port] = process.argv.slice(2)
const clients: RawClient[] = []
let ended = 0
let pings = 0
let closeReason = ''
const options: RawClientOptions = {
  transport: transport as Transport,
  protocol: 'v2',
  port: Number(port),
  contract: 'room',
  key: 'lobby',
  firstEvent: 0,
  onClosed: (reason) => {
    ended++
    closeReason = reason
  },
}

// Each session sends one PING per interval, and the PINGs are evenly distributed.
let pingsDue = 0
let next = 0
setInterval(() => {
  for (pingsDue += (clients.length * PING_STEP_MS) / TIMES.heartbeatMs; pingsDue >= 1; pingsDue--) {
    clients[next++ % clients.length]!.sendPing()
    pings++
  }
}, PING_STEP_MS)

serveRequests({
  /** Opens `count` more sessions. */
  async open(count) {
    let left = count
    const opener = async (): Promise<void> => {
      while (left-- > 0) clients.push(await RawClient.open(options))
    }
    await Promise.all(Array.from({ length: MAX_CONCURRENT }, opener))
    return { open: clients.length }
  },
  count() {
    if (ended > 0) throw new Error(`the server closed ${ended} sessions, the last one with: ${closeReason}`)
    let [pongs, serverPings] = [0, 0]
    for (const client of clients) {
      pongs += client.pongs
      serverPings += client.answeredPings
    }
    return { open: clients.length, pings, pongs, serverPings }
  },
})
