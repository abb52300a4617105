// A child of `bench idle`: `node crowd.ts TRANSPORT PORT` keeps idle version 2 sessions, each with one open channel and
// its heartbeat, and does nothing else with them.

import { TIMES } from '../../../core/wire/limits.ts'
import { answer } from '../attack/answer.ts'
import { Line, type LineOptions, type Transport } from '../attack/line.ts'

/** At most so many are on their way in at a time: a door has a bound for those that have said nothing yet. */
const AT_ONCE = 100
const BEAT_MS = 20

const [transport, port] = process.argv.slice(2)
const lines: Line[] = []
let ended = 0
let pings = 0
let why = ''
const options: LineOptions = {
  transport: transport as Transport,
  protocol: 'v2',
  port: Number(port),
  contract: 'room',
  key: 'lobby',
  firstEvent: 0,
  ended: (reason) => {
    ended++
    why = reason
  },
}

// Every session says PING once in an interval, and all of them evenly over it.
let owed = 0
let next = 0
setInterval(() => {
  for (owed += (lines.length * BEAT_MS) / TIMES.heartbeatMs; owed >= 1; owed--) {
    lines[next++ % lines.length]!.ping()
    pings++
  }
}, BEAT_MS)

answer({
  /** So many more. */
  async open(count) {
    let left = count
    const opener = async (): Promise<void> => {
      while (left-- > 0) lines.push(await Line.open(options))
    }
    await Promise.all(Array.from({ length: AT_ONCE }, opener))
    return { open: lines.length }
  },
  count() {
    if (ended > 0) throw new Error(`${ended} sessions were ended, the last: ${why}`)
    let [pongs, serverPings] = [0, 0]
    for (const line of lines) {
      pongs += line.pongs
      serverPings += line.pings
    }
    return { open: lines.length, pings, pongs, serverPings }
  },
})
