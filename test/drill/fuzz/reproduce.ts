// Runs a single case against a server, and shrinks a case that fails to the smallest plan that still fails. Invariant:
// a server that has ended is replaced before the next attempt.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'

import fc from 'fast-check'

import { printFigure, progress } from '../../support/figure.ts'
import { DrawnPlan, encodePlan, routeOf, type Case } from './arbitraries/cases.ts'
import type { Plan } from './arbitraries/plans.ts'
import { CaseRunner } from './caserunner.ts'
import { Findings, type Finding } from './findings.ts'
import { FuzzServer } from './fuzzserver.ts'

const MAX_SHOWN_BYTES = 400
const SHRINK_MS = 60_000
const MAX_SHRUNK_FINDINGS = 5

/** The smallest case that fails like the original one. */
export interface ShrunkCase {
  readonly number: number
  readonly what: string
  readonly plan: string
  readonly hex: string
}

/** Runs one case alone and prints its figure; returns true when nothing is wrong. */
export async function runOnly(seed: number, number: number, folder: string): Promise<boolean> {
  await using reproducer = new Reproducer(seed, folder)
  const plan = new DrawnPlan(seed, number).generate().value
  const one = reproducer.caseOf(plan, number)
  progress(
    `case ${number} of seed ${seed}: ${one.kind}, ${one.on} over ${one.via}, ${one.bytes.length} bytes`,
  )
  progress(hexOf(one))
  const { findings, isCrashed, closes } = await reproducer.run(plan, number)
  const code = await reproducer.stop()
  const shrunk = isCrashed || findings.total > 0 ? await reproducer.shrink(number) : null
  const answers = Object.fromEntries(findings.answers)
  printFigure({
    drill: 'fuzz',
    seed,
    only: number,
    isCrashed,
    code,
    answers,
    closes,
    findings: findings.list,
    shrunk,
  })
  return !isCrashed && code === '0' && findings.total === 0
}

/** Shrinks the first case of each finding that fails alone too. */
export async function shrinkFindings(
  seed: number,
  findings: readonly Finding[],
  folder: string,
): Promise<readonly ShrunkCase[]> {
  await using reproducer = new Reproducer(seed, folder)
  const shrunk: ShrunkCase[] = []
  for (const { cases } of findings.slice(0, MAX_SHRUNK_FINDINGS)) {
    for (const number of cases) {
      if (!(await reproducer.failure(new DrawnPlan(seed, number).generate().value, number))) continue
      const smallest = await reproducer.shrink(number)
      if (smallest) shrunk.push(smallest)
      break
    }
  }
  return shrunk
}

interface Attempt {
  readonly findings: Findings
  readonly isCrashed: boolean
  readonly closes: Readonly<Record<string, number>> | undefined
}

class Reproducer implements AsyncDisposable {
  readonly #seed: number
  readonly #dir: string
  #server: FuzzServer | null = null
  #findings = new Findings(0)

  constructor(seed: number, folder: string) {
    this.#seed = seed
    this.#dir = join(folder, 'only')
    mkdirSync(this.#dir, { recursive: true })
  }

  caseOf(plan: Plan, number: number, state?: Parameters<typeof encodePlan>[3]): Case {
    return encodePlan(plan, routeOf(this.#seed, number), number, state)
  }

  async run(plan: Plan, number: number): Promise<Attempt> {
    const findings = (this.#findings = new Findings(number + 1))
    const server = (this.#server ??= this.#start())
    const runner = new CaseRunner({
      seed: this.#seed,
      from: number,
      to: number + 1,
      makeCase: (_number, state) => this.caseOf(plan, number, state),
      ports: await server.ready,
      findings,
      isOver: () => !server.isRunning,
    })
    await runner.run()
    // The log lines of the case arrive before the next report.
    await server.refreshed()
    const isCrashed = !server.isRunning
    if (isCrashed) findings.add(`the server ended: ${await server.exitStatus()}`, [{ number }])
    return { findings, isCrashed, closes: server.health?.closes }
  }

  /** Returns the first finding of the plan, or null. */
  async failure(plan: Plan, number: number): Promise<string | null> {
    const { findings, isCrashed } = await this.run(plan, number)
    if (isCrashed) this.#server = null
    return findings.list[0]?.what ?? null
  }

  /** Returns null when the case does not fail again. */
  async shrink(number: number): Promise<ShrunkCase | null> {
    let shrunk: ShrunkCase | null = null
    const property = fc.asyncProperty(new DrawnPlan(this.#seed, number), async (plan) => {
      const what = await this.failure(plan, number)
      if (what === null) return true
      const plain = inspect(plan, { depth: 12, breakLength: 110 })
      shrunk = { number, what, plan: plain, hex: hexOf(this.caseOf(plan, number)) }
      return false
    })
    const limits = { numRuns: 1, interruptAfterTimeLimit: SHRINK_MS, endOnFailure: false }
    await fc.check(property, limits)
    return shrunk
  }

  /** Returns the exit code or the signal of the server. */
  async stop(): Promise<string> {
    const server = this.#server
    this.#server = null
    await server?.stop()
    return (await server?.exitStatus()) ?? '0'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #start(): FuzzServer {
    return new FuzzServer(
      { dir: this.#dir, limits: {} },
      {
        error: (what) => this.#findings.add(what, []),
        warning: (what) => this.#findings.warning(what),
        stall: (ms, busyMs) => progress(`stalled ${ms} ms, ${busyMs} of them busy`),
      },
    )
  }
}

function hexOf({ bytes }: Case): string {
  const hex = Buffer.from(bytes.subarray(0, MAX_SHOWN_BYTES)).toString('hex')
  return bytes.length > MAX_SHOWN_BYTES ? `${hex}…` : hex
}
