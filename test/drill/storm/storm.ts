// Drill `storm`: the drill measures the capacity of this machine, cuts every session at once, then offers twice the
// capacity while connections are cut, and then half of it. `npm run drill -- storm [--quick]`. Exit 1 unless resumes take
// less than 3 s, goodput stays above 80 % of the capacity, every call is answered or refused in time, deposits are
// complete, and service is normal within 10 s after the load fell.

import { monitorEventLoopDelay } from 'node:perf_hooks'

import { oneDecimal, printFigure, progress, secondsSince } from '../../support/figure.ts'
import { Random } from '../../support/random.ts'
import { ServerProcess } from '../../support/serverprocess.ts'
import { until } from '../../support/wait.ts'
import { flag, parseDrill, positive, temporaryFolder, whole } from '../options.ts'
import { Violations } from '../violations.ts'
import { Crowd } from './crowd.ts'
import type { StormMessage, StormOrder } from './server.ts'

const FULL = { sessions: 5_000, seconds: 30, warmMs: 3_000, measureMs: 5_000, calmMs: 3_000 } as const
const QUICK = { sessions: 300, seconds: 4, warmMs: 500, measureMs: 2_000, calmMs: 1_000 } as const
/** Calls in progress while the capacity is measured: enough that the server never waits for the drill. */
const SATURATION = 256
const OVERLOAD = 2
const CALM = 0.5
/** Of the sessions, each second. */
const CUT_SHARE = 0.02
const MIN_GOODPUT = 0.8
const MAX_RESUME_MS = 3_000
const MAX_NORMAL_MS = 10_000
/** A call is as fast as before, up to the noise of a machine that others use too. */
const SLOW_FACTOR = 3
const SLOW_MS = 100
const TIMEOUT_MS = 60_000

export async function run(args: readonly string[]): Promise<void> {
  const spec = { quick: flag, sessions: whole(undefined, { min: 10 }), seconds: positive(3_600), seed: whole(1) }
  const { quick, seed, ...options } = parseDrill('storm', spec, args)
  const preset = quick ? QUICK : FULL
  const { sessions = preset.sessions, seconds = preset.seconds } = options
  const figure = await storm({ ...preset, sessions, seconds, seed })
  printFigure(figure)
  if (figure.faults.length > 0) process.exitCode = 1
}

interface StormOptions {
  readonly sessions: number
  readonly seconds: number
  readonly seed: number
  readonly warmMs: number
  readonly measureMs: number
  readonly calmMs: number
}

async function storm({ sessions, seconds, seed, warmMs, measureMs, calmMs }: StormOptions) {
  const startMs = performance.now()
  const folder = temporaryFolder('storm')
  const violations = new Violations()
  await using server = new ServerProcess<StormMessage>({
    program: new URL('server.ts', import.meta.url),
    order: { dir: `${folder.path}/data` } satisfies StormOrder,
    log: `${folder.path}/server.log`,
  })
  const { tcp } = await server.ready
  const lag = monitorEventLoopDelay({ resolution: 5 })
  const crowd = new Crowd(new Random(seed), violations)
  await crowd.enter(`tcp://127.0.0.1:${tcp}`, sessions)
  progress(`${sessions} sessions are open`)

  await crowd.saturate(SATURATION, warmMs)
  const capacityCpuMs = await cpuOf(server)
  const measuredMs = performance.now()
  await crowd.saturate(SATURATION, measureMs)
  const measured = crowd.between(measuredMs, performance.now())
  const capacity = measured.answeredPerSecond
  const capacityPerCpuSecond = measured.answered / (((await cpuOf(server)) - capacityCpuMs) / 1_000)
  const calmStartMs = performance.now()
  await crowd.offer(CALM * capacity, calmMs)
  const calm = crowd.between(calmStartMs, performance.now())
  progress(`capacity ${capacity} calls per second; calm p99 ${calm.p99Ms} ms`)

  const cutCpuMs = await cpuOf(server)
  const cutMs = performance.now()
  crowd.cut(1)
  await until(() => crowd.openCount < sessions, TIMEOUT_MS)
  if (
    !(await until(() => crowd.openCount === sessions && crowd.between(cutMs, Infinity).resumes >= sessions, TIMEOUT_MS))
  )
    violations.add('resume', `${crowd.openCount} of ${sessions} sessions open ${TIMEOUT_MS} ms after they were cut`)
  const afterCut = crowd.between(cutMs, performance.now())
  const allOpenSeconds = secondsSince(cutMs)
  const resumeCpuMs = ((await cpuOf(server)) - cutCpuMs) / Math.max(1, afterCut.resumes)
  progress(`all cut: p99 of a resume ${afterCut.resumeP99Ms} ms`)

  lag.enable()
  const stormCpuMs = await cpuOf(server)
  const stormMs = performance.now()
  const madeBefore = crowd.made
  let cuts = 0
  await crowd.offer(OVERLOAD * capacity, seconds * 1_000, () => (cuts += crowd.cut(CUT_SHARE)))
  const endMs = performance.now()
  const during = crowd.between(stormMs, endMs)
  const perCpuSecond = during.answered / (((await cpuOf(server)) - stormCpuMs) / 1_000)
  const offeredPerSecond = Math.round((crowd.made - madeBefore) / ((endMs - stormMs) / 1_000))
  lag.disable()
  progress(
    `storm: ${during.answeredPerSecond} answered, ${during.refusedPerSecond} refused of ${offeredPerSecond} per second`,
  )

  // Of the capacity that the machine has now.
  const offeredAfter = CALM * Math.min(capacity, during.answeredPerSecond)
  const offering = crowd.offer(offeredAfter, MAX_NORMAL_MS + calmMs)
  const isNormal = (): boolean => {
    const nowMs = performance.now()
    const { answeredPerSecond, refusedPerSecond } = crowd.between(nowMs - 1_000, nowMs)
    return nowMs >= endMs + 1_000 && refusedPerSecond === 0 && answeredPerSecond >= 0.95 * offeredAfter
  }
  const isInTime = await until(isNormal, MAX_NORMAL_MS + 1_000)
  const normalSeconds = oneDecimal((performance.now() - endMs) / 1_000 - 1)
  await offering
  const after = crowd.between(performance.now() - calmMs, performance.now())
  if (!(await until(() => crowd.openCount === sessions, TIMEOUT_MS)))
    violations.add('open', `${crowd.openCount} of ${sessions} sessions are open after the storm`)
  if (!(await crowd.settle(TIMEOUT_MS))) violations.add('pending', `${crowd.pending} calls have not ended`)
  const missing = await crowd.checkBooks()
  const usage = await server.request('usage')
  await crowd.close()

  const goodput = during.answeredPerSecond / capacity
  // Per second of the processor too: others may have taken the rest.
  if (Math.max(goodput, perCpuSecond / capacityPerCpuSecond) < MIN_GOODPUT)
    violations.add('goodput', `${oneDecimal(100 * goodput)} % of the capacity`)
  for (const [when, ms] of [
    ['after all were cut', afterCut.resumeP99Ms],
    ['in the storm', during.resumeP99Ms],
  ] as const)
    if (ms > MAX_RESUME_MS) violations.add('resume', `p99 of a resume ${when}: ${ms} ms`)
  if (!isInTime) violations.add('recovery', `not normal ${MAX_NORMAL_MS} ms after the load fell`)
  if (after.p99Ms > SLOW_FACTOR * calm.p99Ms + SLOW_MS)
    violations.add('slow', `p99 ${after.p99Ms} ms afterwards, ${calm.p99Ms} ms before`)
  return {
    drill: 'storm',
    host: 'node',
    sessions,
    // Calls answered per second with as many in progress as the server can use.
    capacity,
    calmP99Ms: calm.p99Ms,
    // Every session cut in the same moment; from the cut to 'resumed'.
    cutResumeP50Ms: afterCut.resumeP50Ms,
    cutResumeP99Ms: afterCut.resumeP99Ms,
    allOpenSeconds,
    // Of the server's processor.
    resumeCpuMs: Math.round(resumeCpuMs * 1_000) / 1_000,
    offeredPerSecond,
    answeredPerSecond: during.answeredPerSecond,
    refusedPerSecond: during.refusedPerSecond,
    // The same per second of the server's processor: what is left when the drill and others take theirs.
    capacityPerCpuSecond: Math.round(capacityPerCpuSecond),
    answeredPerCpuSecond: Math.round(perCpuSecond),
    goodput: Math.round(goodput * 100) / 100,
    p50Ms: during.p50Ms,
    p99Ms: during.p99Ms,
    cuts,
    resumes: during.resumes,
    resumeP50Ms: during.resumeP50Ms,
    resumeP99Ms: during.resumeP99Ms,
    normalSeconds: isInTime ? Math.max(0, normalSeconds) : -1,
    afterP99Ms: after.p99Ms,
    missingDeposits: missing,
    serverCpuSeconds: oneDecimal((usage?.cpuMs ?? 0) / 1_000),
    serverRssMb: Math.round((usage?.rssBytes ?? 0) / 1e6),
    // Of the drill's own event loop in the storm: the times above contain it.
    lagP99Ms: oneDecimal(lag.percentile(99) / 1e6),
    faults: violations.report(),
    seconds: secondsSince(startMs),
  }
}

async function cpuOf(server: ServerProcess<StormMessage>): Promise<number> {
  return (await server.request('usage'))?.cpuMs ?? 0
}
