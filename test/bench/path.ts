// `bench path`: server CPU per message of examples/echo command 1, and of a raw Node echo, over TCP. Both alternate in
// one run and their medians are compared, so that noise affects both equally: quote the ratio; quote microseconds only
// together with the machine.

import { type CpuReading, readCpu, spentNs } from './cpu.ts'
import { type Profile, printRatio } from './figure.ts'
import { median, printFigure, progress, roundFigure } from '../support/figure.ts'
import { type MeasuredServer, canPin, progressOfPinning, startFirefly, startLoad, startRawEcho } from './server.ts'

const CONNECTIONS = 50
/** Time for the load generator to print its result after the measured window. */
const RESULT_TIMEOUT_MS = 15_000

/**
 * Frames in flight per connection, and the least acceptable raw / Firefly CPU per message. The prototype
 * without sessions or mailboxes reached 0.96 and 0.77 by the same `data` path (DESIGN.md 7).
 * 0.4 is the goal of research/performance.md for 16 in flight.
 */
const IN_FLIGHT_DEPTHS = [
  { inFlight: 1, aim: 0.8 },
  { inFlight: 16, aim: 0.4 },
] as const

interface LoadResult {
  readonly messages: number
  readonly seconds: number
  readonly p50Us: number
  readonly p99Us: number
}

interface Sample extends LoadResult {
  readonly cpuUs: number
}

export async function run(profile: Profile): Promise<void> {
  const rounds = profile.quick ? 2 : 5
  const window = { warmUpMs: profile.quick ? 500 : 1_000, measureMs: profile.quick ? 1_000 : 3_000 }
  const pinned = canPin()
  progressOfPinning(pinned)
  const servers: MeasuredServer[] = []
  const samples = new Map<string, Sample[]>()
  try {
    // One after the other, so that a started server is stopped when the next one fails to start.
    servers.push(await startRawEcho(pinned))
    servers.push(await startFirefly([], pinned))
    for (let n = 1; n <= rounds; n++) {
      for (const { inFlight } of IN_FLIGHT_DEPTHS) {
        for (const server of servers) {
          const sample = await measure(server, inFlight, window, pinned)
          const key = `${server.side} ${inFlight}`
          samples.set(key, [...(samples.get(key) ?? []), sample])
          const cpu = (sample.cpuUs / sample.messages).toFixed(2)
          progress(`round ${n}/${rounds} ${server.side} P${inFlight}: ${cpu} us CPU per message`)
        }
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
  for (const { inFlight, aim } of IN_FLIGHT_DEPTHS) {
    const [raw, other] = servers.map(({ side }) => ({
      side,
      cpu: summarize(side, inFlight, samples, pinned),
    }))
    const labels = { bench: 'path', figure: 'ratio', side: other!.side, inFlight }
    printRatio(profile, labels, raw!.cpu / other!.cpu, { kind: 'min', value: aim })
  }
}

/** Prints the medians of one side; returns its CPU per message, us. */
function summarize(
  side: string,
  inFlight: number,
  all: ReadonlyMap<string, readonly Sample[]>,
  pinned: boolean,
): number {
  const samples = all.get(`${side} ${inFlight}`) ?? []
  const cpuUsPerMessage = median(samples.map((s) => s.cpuUs / s.messages))
  printFigure({
    bench: 'path',
    side,
    inFlight,
    connections: CONNECTIONS,
    cpuUsPerMessage: roundFigure(cpuUsPerMessage),
    messagesPerSecond: roundFigure(median(samples.map((s) => s.messages / s.seconds))),
    p50Us: roundFigure(median(samples.map((s) => s.p50Us))),
    p99Us: roundFigure(median(samples.map((s) => s.p99Us))),
    // Below about 0.9 the load generator was the bottleneck; CPU per message then includes more wakeups.
    serverBusy: roundFigure(median(samples.map((s) => s.cpuUs / 1e6 / s.seconds))),
    rounds: samples.length,
    pinned,
  })
  return cpuUsPerMessage
}

function measure(
  server: MeasuredServer,
  inFlight: number,
  { warmUpMs, measureMs }: { warmUpMs: number; measureMs: number },
  pinned: boolean,
): Promise<Sample> {
  const options = {
    host: server.host,
    port: server.port,
    connections: CONNECTIONS,
    'in-flight': inFlight,
    'warm-up-ms': warmUpMs,
    'measure-ms': measureMs,
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const { promise, resolve, reject } = Promise.withResolvers<Sample>()
  let before: CpuReading | undefined
  let cpuNs: number | undefined
  const load = startLoad(args, pinned, (line) => {
    try {
      if (line === 'start') before = readCpu(server.pid)
      else if (line === 'stop' && before) cpuNs = spentNs(before, readCpu(server.pid))
      else if (cpuNs !== undefined) resolve({ ...(JSON.parse(line) as LoadResult), cpuUs: cpuNs / 1_000 })
      else throw new Error(`unexpected line of the load generator: ${line}`)
    } catch (error) {
      reject(error)
    }
  })
  const side = `${server.side} P${inFlight}`
  const timer = setTimeout(
    () => {
      reject(new Error(`${side}: the load generator printed no result: ${load.failureText()}`))
      load.process.kill('SIGKILL')
    },
    warmUpMs + measureMs + RESULT_TIMEOUT_MS,
  )
  // 'exit' may precede the last line, 'close' does not.
  load.process.once('close', () => {
    clearTimeout(timer)
    reject(new Error(`${side}: the load generator failed: ${load.failureText()}`))
  })
  return promise
}
