// One flooder beside 100 good players: what it takes of the server's processor, and what they notice. Server on one
// core, players on the other; the flooder gives way to the players on theirs, because its own work is not the question.
// Players act at a game's rate (`paced`), or as fast as they are answered (`full`): then the server has no time to
// spare, and what the flooder takes is what they lose.

import { setTimeout as sleep } from 'node:timers/promises'

import { readCpu, spentNs } from '../cpu.ts'
import { printRatio, type Profile } from '../figure.ts'
import { median, progress, roundFigure } from '../../support/figure.ts'
import { canPin } from '../server.ts'
import { startChild, type ChildProcessClient } from './child.ts'
import { Room } from './game.ts'
import { FLOOD_KINDS, type FloodKind } from './kinds.ts'
import { LOAD_CORE, SERVER_CORE, startTargetServer } from './target.ts'

const PLAYERS = 100
const ACTS_PER_SECOND = { paced: 10, full: 0 } as const
type Load = keyof typeof ACTS_PER_SECOND
/** A server that has time to spare wakes up more or less often by itself: what it spends differs more. */
const ROUNDS = { paced: 7, full: 3 } as const
const MAX_CPU_SHARE = { kind: 'max', value: 0.1 } as const
/** Of the answers without a flooder; below 1 by what two samples of the same differ. */
const MIN_ANSWER_RATIO = { paced: { kind: 'min', value: 0.99 }, full: { kind: 'min', value: 0.9 } } as const
const FLOODER = new URL('flooder.ts', import.meta.url)
const PLAYERS_FILE = new URL('players.ts', import.meta.url)

interface Sample {
  /** Of one core. */
  readonly cpu: number
  /** That the server took in a second, without the players' acts. */
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
    await players.request('pace', ACTS_PER_SECOND[load])
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
    await players.request('rest')
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

async function measure(profile: Profile, field: FloodScenario): Promise<void> {
  const { server, players, flooder, load, kind, pinned } = field
  const ms = profile.quick ? 200 : 4_000
  // A budget is averaged over two seconds: by then the flooder has used up what it had saved.
  const warmMs = profile.quick ? 100 : 4_000
  // Each sample with the flooder is held against the two beside it, because the machine's own pace drifts.
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
  // A server without time to spare spends the same with and without: see the answers.
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
