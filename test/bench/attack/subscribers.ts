// A child of `bench attack`: `node subscribers.ts PROTOCOL PORT` holds members of the storm: readers that count events,
// and non-readers that read nothing after they have entered, but send PING.

import { setTimeout as sleep } from 'node:timers/promises'

import { readU32 } from '../../../core/wire/bytes.ts'
import { TIMES } from '../../../core/wire/limits.ts'
import { serveRequests } from './responder.ts'
import { Storm } from './game.ts'
import { RawClient, type Protocol } from '../../support/rawclient.ts'
import { DEADLINE_MS } from '../../support/wait.ts'

const MAX_CONCURRENT = 50

interface Reader {
  /** The counter of the last news event. */
  last: number
  news: number
  weather: number
}

const [protocol, port] = process.argv.slice(2)
const { enter, news, weather } = Storm.entries
const body = new Uint8Array(4)
const options = {
  transport: 'tcp',
  protocol: protocol as Protocol,
  port: Number(port),
  contract: Storm.name,
  key: Storm.key,
  firstEvent: news.number,
} as const
const readers: Reader[] = []
const nonReaders: RawClient[] = []
const readerClients: RawClient[] = []
let gaps = 0
let closedByServer = 0

async function openReader(): Promise<void> {
  const reader: Reader = { last: 0, news: 0, weather: 0 }
  readers.push(reader)
  const client = await RawClient.open({
    ...options,
    onEvent(number, source, start) {
      const count = readU32(source, start)
      if (number === weather.number) reader.weather++
      if (number !== news.number) return
      if (reader.last !== 0 && count !== reader.last + 1) gaps++
      reader.last = count
      reader.news++
    },
    onClosed: () => closedByServer++,
  })
  readerClients.push(client)
  client.call(enter.number, body)
}

async function openNonReader(): Promise<void> {
  const entered = Promise.withResolvers<void>()
  const client = await RawClient.open({
    ...options,
    onReply: () => entered.resolve(),
    onClosed: () => entered.resolve(),
  })
  client.call(enter.number, body)
  await entered.promise
  client.pauseReading()
  nonReaders.push(client)
}

async function openMany(count: number, open: () => Promise<void>): Promise<Record<string, number>> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await open()
  }
  await Promise.all(Array.from({ length: MAX_CONCURRENT }, worker))
  return {}
}

setInterval(() => {
  if (options.protocol === 'v2') for (const client of [...nonReaders, ...readerClients]) client.sendPing()
}, TIMES.heartbeatMs)

serveRequests({
  readers: (count) => openMany(count, openReader),
  nonReaders: (count) => openMany(count, openNonReader),
  /**
   * The events per second of the slowest reader within `ms`, on a busy machine longer, until each has received one; gaps and
   * closed connections since the start.
   */
  async sample(ms) {
    const before = readers.map((reader) => ({ ...reader }))
    const startMs = performance.now()
    const least = (name: 'news' | 'weather'): number =>
      Math.min(...readers.map((reader, n) => reader[name] - before[n]![name]))
    do await sleep(ms)
    while (least('news') === 0 && performance.now() - startMs < DEADLINE_MS)
    const seconds = (performance.now() - startMs) / 1_000
    return { news: least('news') / seconds, weather: least('weather') / seconds, gaps, thrownOut: closedByServer }
  },
})
