// A child of `bench attack`: `node audience.ts PROTOCOL PORT` sits in the storm: readers that count what they hear, and
// sleepers that never read a byte once they are in, though they go on saying that they are alive.

import { setTimeout as sleep } from 'node:timers/promises'

import { readU32 } from '../../../core/wire/bytes.ts'
import { TIMES } from '../../../core/wire/limits.ts'
import { serveRequests } from './responder.ts'
import { Storm } from './game.ts'
import { RawClient, type Protocol } from '../../support/rawclient.ts'

const MAX_CONCURRENT = 50

interface Reader {
  /** Number of the last news. */
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
  const line = await RawClient.open({
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
  readerClients.push(line)
  line.call(enter.number, body)
}

async function openNonReader(): Promise<void> {
  const entered = Promise.withResolvers<void>()
  const line = await RawClient.open({
    ...options,
    onReply: () => entered.resolve(),
    onClosed: () => entered.resolve(),
  })
  line.call(enter.number, body)
  await entered.promise
  line.pauseReading()
  nonReaders.push(line)
}

async function openMany(count: number, one: () => Promise<void>): Promise<Record<string, number>> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await one()
  }
  await Promise.all(Array.from({ length: MAX_CONCURRENT }, worker))
  return {}
}

setInterval(() => {
  if (options.protocol === 'v2') for (const line of [...nonReaders, ...readerClients]) line.sendPing()
}, TIMES.heartbeatMs)

serveRequests({
  readers: (count) => openMany(count, openReader),
  sleepers: (count) => openMany(count, openNonReader),
  /** What the readers hear in so many milliseconds: of the slowest, in a second; gaps and ends since the start. */
  async sample(ms) {
    const before = readers.map((reader) => ({ ...reader }))
    const startMs = performance.now()
    await sleep(ms)
    const seconds = (performance.now() - startMs) / 1_000
    const least = (name: 'news' | 'weather'): number =>
      Math.min(...readers.map((reader, n) => reader[name] - before[n]![name])) / seconds
    return { news: least('news'), weather: least('weather'), gaps, thrownOut: closedByServer }
  },
})
