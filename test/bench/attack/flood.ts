// One flooder beside 100 players: its share of the server's CPU, and the effect on the players. The server has one
// core, the players the other. On that core the flooder has the lower priority, because its own work is not measured.
// Players act at a game's rate (`paced`), or as fast as replies arrive (`full`): then the server has no spare CPU, and
// the flooder's share is the players' loss.

import { setTimeout as sleep } from 'node:timers/promises'

import { readCpu, spentNs } from '../cpu.ts'
import { printRatio, type Profile } from '../figure.ts'
import { median, progress, roundFigure } from '../../support/figure.ts'
import { canPin, LOAD_CORE, SERVER_CORE } from '../server.ts'
import { startChild, type ChildProcessClient } from './child.ts'
import { FLOOD_KINDS, Room, type FloodKind } from './game.ts'
import { startTargetServer } from './target.ts'

const PLAYERS = 100
const ACTS_PER_SECOND = { paced: 10, full: 0 } as const
type Load = keyof typeof ACTS_PER_SECOND
/** With spare CPU the number of wakeups varies, so `paced` needs more rounds. */
const ROUNDS = { paced: 7, full: 3 } as const
const MAX_CPU_SHARE = { kind: 'max', value: 0.1 } as const
/** Relative to the replies without a flooder; below 1 by the difference of two equal samples. */
const MIN_ANSWER_RATIO = { paced: { kind: 'min', value: 0.99 }, full: { kind: 'min', value: 0.9 } } as const
const FLOODER = new URL('flooder.ts', import.meta.url)
const PLAYERS_FILE = new URL('players.ts', import.meta.url)

interface Sample {
  /** CPU seconds per second. */
  readonly cpu: number
  /** Received by the server per second, without the players' acts. */
  readonly frames: number
  readonly answers: number
  readonly p99Ms: number
}

export async function flood(profile: Profile): Promise<void> {
  const pinned = canPin()
  const core = (n: number): number | null => (pinned ? n : null)
  await using server = await startTargetServer(core(SERVER_CORE))
  const port = (await server.request('ports'))['tcp']!
  await using players = await startChild(PLAYERS_FILE, { core: core(LOAD_CORE), args: [port, PLAYERS] })
  await players.request('open')
  for (const load of Object.keys(ACTS_PER_SECOND) as Load[]) {
    await players.request('setRate', ACTS_PER_SECOND[load])
    await sleep(profile.quick ? 100 : 2_000)
    for (const kind of FLOOD_KINDS) {
      progress(`attack: ${kind} flood, players ${load} …`)
      await using flooder = await startChild(FLOODER, {
        core: core(LOAD_CORE),
        lowPriority: true,
        args: [port, kind, load === 'paced' ? Room.entries.act.number : Room.entries.plot.number],
      })
      await measure(profile, { server, players, flooder, load, kind, pinned })
    }
    await players.request('drain')
  }
}

interface FloodScenario {
  readonly server: ChildProcessClient
  readonly players: ChildProcessClient
  readonly flooder: ChildProcessClient
  readonly load: Load
  readonly kind: FloodKind
  readonly pinned: boolean
}

async function measure(profile: Profile, scenario: FloodScenario): Promise<void> {
  const { server, players, flooder, load, kind, pinned } = scenario
  const ms = profile.quick ? 200 : 4_000
  // A token bucket holds two seconds' worth: after this time the flooder has emptied it.
  const warmMs = profile.quick ? 100 : 4_000
  // Each sample with the flooder is compared with the samples before and after it, because the machine's speed drifts.
  const alone: Sample[] = [await sample(server, players, ms)]
  const flooded: Sample[] = []
  for (let n = 0; n < (profile.quick ? 1 : ROUNDS[load]); n++) {
    await flooder.request('start')
    await sleep(warmMs)
    flooded.push(await sample(server, players, ms))
    await flooder.request('stop')
    await sleep(warmMs / 2)
    alone.push(await sample(server, players, ms))
  }
  const taken = flooded.map(({ cpu }, i) => cpu - (alone[i]!.cpu + alone[i + 1]!.cpu) / 2)
  const shares = taken.map((cores, i) => cores / flooded[i]!.cpu)
  const of = (samples: readonly Sample[], name: keyof Sample): number => median(samples.map((one) => one[name]))
  const { connections } = await flooder.request('count')
  const labels = { bench: 'attack', kind, load, players: PLAYERS, seconds: ms / 1_000, pinned }
  const share = {
    cpuWithout: roundFigure(of(alone, 'cpu')),
    cpuWith: roundFigure(of(flooded, 'cpu')),
    coreShare: roundFigure(median(taken)),
    floodFramesPerSecond: roundFigure(of(flooded, 'frames') - of(alone, 'frames')),
    floodConnections: connections!,
  }
  // Without spare CPU the server uses the same CPU with and without the flooder: see the replies.
  if (load === 'paced')
    printRatio(profile, { ...labels, figure: 'flooderShare', ...share }, median(shares), MAX_CPU_SHARE)
  const answers = {
    answersPerSecond: roundFigure(of(flooded, 'answers')),
    answersPerSecondWithout: roundFigure(of(alone, 'answers')),
    p99Ms: roundFigure(of(flooded, 'p99Ms')),
    p99MsWithout: roundFigure(of(alone, 'p99Ms')),
    p99Ratio: roundFigure(of(flooded, 'p99Ms') / of(alone, 'p99Ms')),
    ...(load === 'full' ? share : {}),
  }
  const ratio = of(flooded, 'answers') / of(alone, 'answers')
  printRatio(profile, { ...labels, figure: 'answers', ...answers }, ratio, MIN_ANSWER_RATIO[load])
}

async function sample(server: ChildProcessClient, players: ChildProcessClient, ms: number): Promise<Sample> {
  const framesBefore = await server.request('frames')
  const before = readCpu(server.pid)
  const startMs = performance.now()
  const seen = await players.request('sample', ms)
  const seconds = (performance.now() - startMs) / 1_000
  const cpu = spentNs(before, readCpu(server.pid)) / 1e9 / seconds
  const frames = ((await server.request('frames'))['frames']! - framesBefore['frames']!) / seconds
  return { cpu, frames: frames - seen['sent']!, answers: seen['answers']!, p99Ms: seen['p99Ms']! }
}
