// `bench path`: server CPU per message of examples/echo command 1 beside a raw Node echo, over TCP.
// The sides take turns inside one run and the medians are compared, so that noise disturbs both alike: the
// ratio may be quoted, the microseconds only together with the machine.

import { type CpuReading, readCpu, spentNs } from './cpu.ts'
import { type Profile, printRatio } from './figure.ts'
import { median, printFigure, progress, roundFigure } from '../support/figure.ts'
import { type MeasuredServer, canPin, startFirefly, startLoad, startRawEcho } from './server.ts'

const CONNECTIONS = 50
/** A load that says nothing for this long after its window is stuck. */
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
  progress(pinned ? 'server on core 1, load on core 0' : 'not pinned: taskset or a second core is missing')
  const servers: MeasuredServer[] = []
  const samples = new Map<string, Sample[]>()
  try {
    // One by one: what has started is stopped below, also when the next one does not start.
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
    // Below about 0.9 the load was the bottleneck; CPU per message then includes more wake-ups.
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
      else if (cpuNs !== undefined) resolve({ ...parseResult(line), cpuUs: cpuNs / 1_000 })
      else throw new Error(`unexpected line of the load generator: ${line}`)
    } catch (error) {
      reject(error)
    }
  })
  const side = `${server.side} P${inFlight}`
  const timer = setTimeout(
    () => {
      reject(new Error(`${side}: the load generator gave no result: ${load.failureText()}`))
      load.process.kill('SIGKILL')
    },
    warmUpMs + measureMs + RESULT_TIMEOUT_MS,
  )
  // `close` comes after the last line was read, `exit` may come before it.
  load.process.once('close', () => {
    clearTimeout(timer)
    reject(new Error(`${side}: the load generator failed: ${load.failureText()}`))
  })
  return promise
}

function parseResult(line: string): LoadResult {
  const value: unknown = JSON.parse(line)
  if (typeof value === 'object' && value !== null) {
    const { messages, seconds, p50Us, p99Us } = value as Partial<Record<keyof LoadResult, unknown>>
    if (
      typeof messages === 'number' &&
      typeof seconds === 'number' &&
      typeof p50Us === 'number' &&
      typeof p99Us === 'number'
    ) {
      return { messages, seconds, p50Us, p99Us }
    }
  }
  throw new Error(`the load generator's result is not what it should be: ${line}`)
}
